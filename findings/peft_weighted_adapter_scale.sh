#!/usr/bin/env bash
# Guess:     add_weighted_adapter of two equal adapters at weights 0.5 and 0.5 gives that adapter again, and a single adapter
#            at weight 1 is a copy of it; the way of combining matters only for adapters that differ.
# Behaviour: Two equal halves come out 2 times too large with "linear" (also dare_linear and magnitude_prune at density 1),
#            at half size with "ties", at the right size with "cat" and "svd". Linear combination mixes the factors A and B
#            apart from each other, so two halves add up in both.
#            With rsLoRA even one adapter at weight 1 is no copy: it grows sqrt(r) times (2.8 at rank 8, 4 at rank 16), with
#            every way of combining, because the new adapter keeps use_rslora and gets lora_alpha = r.
# Version:   peft 0.21.2, torch 2.13.0
# Source:    peft/tuners/lora/model.py: add_weighted_adapter (lora_alpha of the new adapter) and
#            _generalized_task_arithmetic_weighted_adapter (a root of the weight on each factor).
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
from peft import LoraConfig, get_peft_model

KINDS = ("linear", "cat", "svd", "ties", "dare_linear", "magnitude_prune")
DENSE = {"ties", "dare_linear", "magnitude_prune"}


def two_equal_adapters(rank, rslora):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16, bias=False))
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["0"], use_rslora=rslora, init_lora_weights=False
    )
    model = get_peft_model(model, config, adapter_name="a")
    model.add_adapter("b", config)
    layer = model.base_model.model[0]
    with torch.no_grad():
        layer.lora_A["b"].weight.copy_(layer.lora_A["a"].weight)
        layer.lora_B["b"].weight.copy_(layer.lora_B["a"].weight)
    return model, layer


def growth(rank, rslora, kind, adapters, weights):
    model, layer = two_equal_adapters(rank, rslora)
    density = {"density": 1.0} if kind in DENSE else {}
    model.add_weighted_adapter(adapters, weights, "sum", combination_type=kind, **density)
    return float(layer.get_delta_weight("sum").norm() / layer.get_delta_weight("a").norm())


print("peft", version("peft"), "torch", version("torch"))
print("size of the combination over the size of the adapter, rank 8")
print(f"{'':<16}{'0.5 a + 0.5 a':>15}{'1.0 a':>8}{'1.0 a, rsLoRA':>15}")
rows = {}
for kind in KINDS:
    halves = growth(8, False, kind, ["a", "b"], [0.5, 0.5])
    rows[kind] = (halves, growth(8, False, kind, ["a"], [1.0]), growth(8, True, kind, ["a"], [1.0]))
    print(f"{kind:<16}{rows[kind][0]:>15.3f}{rows[kind][1]:>8.3f}{rows[kind][2]:>15.3f}")
at_16 = growth(16, True, "linear", ["a"], [1.0])
print(f"rank 16, rsLoRA, linear, 1.0 a: {at_16:.3f}")

halves = {"linear": 2.0, "cat": 1.0, "svd": 1.0, "ties": 0.5, "dare_linear": 2.0, "magnitude_prune": 2.0}
as_stated = abs(at_16 - 4.0) < 0.01 and all(
    abs(rows[kind][0] - halves[kind]) < 0.01
    and abs(rows[kind][1] - 1.0) < 0.01
    and abs(rows[kind][2] - 8**0.5) < 0.01
    for kind in KINDS
)
if not as_stated:
    sys.exit("CHANGED: the sizes are not those of the header")
print("as stated: halves of one adapter do not always add up to it, and rsLoRA adapters grow by sqrt(r)")
PY
