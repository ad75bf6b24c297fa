#!/usr/bin/env bash
# Guess:     an adapter that was not trained yet changes nothing: B is zero, so a fresh LoRA and a fresh DoRA give the base
#            model's logits, in bfloat16 as in float32.
# Behaviour: A fresh LoRA does. A fresh DoRA on a bfloat16 model, with PEFT's defaults, moves the logits by nearly 1 %
#            (relative), so a training does not start from the base and the first DPO loss is not ln 2. In float32 it is exact,
#            and so it is in bfloat16 with autocast_adapter_dtype=False.
# Version:   peft 0.21.2, torch 2.13.0, transformers 5.19.0 (CPU)
# Source:    peft/tuners/lora/dora.py: the magnitude is the norm of the weights as it is rounded when the layer is made; by
#            default the adapter, and with it the norm of each forward pass, is then taken in float32, and magnitude / norm is
#            not 1 any more.
# A fresh environment with torch takes a few minutes and about 1 GB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 peft==0.21.2 transformers==5.19.0 accelerate==1.15.0
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 TMPDIR="$folder"
"$folder/venv/bin/python" -I - <<'PY'
import copy
import sys
import warnings

warnings.filterwarnings("ignore")
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
tokens = torch.arange(64)[None]


def logits(model):
    with torch.no_grad():
        return model.eval()(tokens).logits.float()


def change(dtype, dora, cast):
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(vocab_size=256, **SHAPE)).to(dtype)
    before = logits(base)
    config = LoraConfig(r=8, use_dora=dora, target_modules="all-linear")
    model = get_peft_model(copy.deepcopy(base), config, autocast_adapter_dtype=cast)
    return float((logits(model) - before).norm() / before.norm())


print("relative change of the logits by an untrained adapter")
found = {}
for dtype in (torch.float32, torch.bfloat16):
    for dora in (False, True):
        for cast in (True, False):
            found[dtype, dora, cast] = change(dtype, dora, cast)
            name = f"{'DoRA' if dora else 'LoRA'}, autocast_adapter_dtype={cast}"
            print(f"{str(dtype):<16}{name:<36}{found[dtype, dora, cast]:.2e}")
moved = found.pop((torch.bfloat16, True, True))
if not moved > 1e-3 or any(found.values()):
    sys.exit("CHANGED: an untrained adapter does not change the logits as the header states")
print("as stated: a fresh DoRA in bfloat16 is not the base model, by PEFT's defaults")
PY
