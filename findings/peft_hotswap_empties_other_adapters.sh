#!/usr/bin/env bash
# Guess:     hotswap_adapter puts new weights under one adapter's name; what else is loaded stays, and the swapped adapter
#            can be saved as it now is.
# Behaviour: every other adapter whose keys contain that name anywhere is set to zero, without a word, and from then on
#            answers as the base model does: "v10" when "v1" is swapped, "math-hard" when "math" is, and any adapter at
#            all when the name is "a", "b" or "lora", since it is looked for in "base_model.model.0.lora_A.NAME.weight".
#            The swap itself is right. save_pretrained afterwards writes the new weights beside the old lora_alpha and r:
#            an adapter of alpha 32, swapped in for one of alpha 8, is read back at a quarter of its size.
# Version:   peft 0.21.2, torch 2.13.0
# Source:    peft/utils/hotswap.py: hotswap_adapter_from_state_dict (missing_keys are the keys with `adapter_name in k`,
#            and what the new file lacks of them is filled with zeros; the scaling is set, model.peft_config is not).
#            Upstream knows: huggingface/peft issues 3780 (names that begin alike) and 3581 (the stale configuration).
# A fresh environment with torch takes a few minutes and about 1 GB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 peft==0.21.2 transformers==5.19.0 accelerate==1.15.0
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 TMPDIR="$folder"
"$folder/venv/bin/python" -I - <<'PY'
import sys
import warnings
from importlib.metadata import version

warnings.filterwarnings("ignore")
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.hotswap import hotswap_adapter

# swapped adapter, other adapter, whether the other one survives
PAIRS = [
    ("default", "other", True),
    ("v10", "v1", True),
    ("v1", "v10", False),
    ("math", "math-hard", False),
    ("a", "b", False),
    ("b", "a", False),
    ("lora", "other", False),
]
INPUTS = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))


def base():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 16))


def saved(seed, alpha):
    """A folder with an adapter that changes the model."""
    model = get_peft_model(base(), LoraConfig(r=4, lora_alpha=alpha, target_modules=["0"]))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.normal_()
    model.save_pretrained(f"adapter-{seed}")
    return f"adapter-{seed}"


@torch.no_grad()
def answers(model, adapter=None):
    if adapter is not None:
        model.set_adapter(adapter)
    return model.eval()(INPUTS)


def alone(path):
    return answers(PeftModel.from_pretrained(base(), path))


def same(left, right):
    return torch.allclose(left, right, atol=1e-5)


print("peft", version("peft"), "torch", version("torch"))
first, second, third, louder = saved(1, 8), saved(2, 8), saved(3, 8), saved(4, 32)
as_stated = True
for swapped, other, survives in PAIRS:
    model = PeftModel.from_pretrained(base(), first, adapter_name=swapped)
    model.load_adapter(second, adapter_name=other)
    whole = same(answers(model, other), alone(second))
    model.set_adapter(swapped)
    hotswap_adapter(model, third, adapter_name=swapped, torch_device="cpu")
    right = same(answers(model, swapped), alone(third))
    kept, empty = same(answers(model, other), alone(second)), same(answers(model, other), answers(base()))
    state = "as it was" if kept else "as the base model" if empty else "something else"
    print(f"{swapped!r} is swapped: it answers {'as the new one' if right else 'wrongly'}, {other!r} answers {state}")
    as_stated &= whole and right and kept == survives and empty != survives

model = PeftModel.from_pretrained(base(), first)
hotswap_adapter(model, louder, adapter_name="default", torch_device="cpu")
right = same(answers(model), alone(louder))
model.save_pretrained("again")
growth = float((alone("again") - answers(base())).norm() / (answers(model) - answers(base())).norm())
print(f"alpha 32 swapped in for 8: {'right' if right else 'wrong'}; saved and read back: {growth:.3f} of its size")
as_stated &= right and abs(growth - 0.25) < 1e-3
if not as_stated:
    sys.exit("CHANGED: other adapters, or the saved one, are not as the header states")
print("as stated: a swap empties other adapters by their names, and what is saved then keeps the old scaling")
PY
