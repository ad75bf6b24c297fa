#!/usr/bin/env bash
# Guess:     A forward pass in evaluation mode leaves a 4-bit model as it is. To merge a LoRA adapter after looking at a few
#            answers, or to go on training after an evaluation, gives what it would have given without the look.
# Behaviour: On a processor with avx512_bf16 the first forward pass in evaluation mode packs each Linear4bit weight anew, in
#            place, and it stays packed in training mode. From then on:
#            (1) a float32 compute type is not kept: the product is taken in bfloat16 (logits move by 0.2 to 0.3 %);
#            (2) gradients no longer pass through the 4-bit layers, so the LoRA gradients of lower layers change by tens of
#                per cent; the only sign is a PyTorch warning about a missing autograd kernel;
#            (3) PEFT's merge_and_unload reads the packed bytes in the old order: the merged model is wrong, and the
#                one warning is the usual one about rounding.
#            state_dict() puts the weights back, so saving the model first and merging afterwards hides it.
# Version:   bitsandbytes 0.50.2, peft 0.21.2, transformers 5.19.0, torch 2.13.0
# Source:    bitsandbytes/nn/modules.py, Linear4bit.forward; bitsandbytes/functional.py, _convert_weight_packed_for_cpu;
#            peft/tuners/lora/bnb.py, Linear4bit.merge.
# Exit 77:   the processor has no avx512_bf16, nothing is packed, nothing can be shown.
# A fresh environment with torch takes a few minutes and about 1 GB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 bitsandbytes==0.50.2 peft==0.21.2 transformers==5.19.0 \
    accelerate==1.15.0
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 TMPDIR="$folder"
"$folder/venv/bin/python" -I - <<'PY'
import logging
import sys
import tempfile
import warnings
from importlib.metadata import version

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import torch
from bitsandbytes.functional import has_avx512bf16
from peft import LoraConfig, get_peft_model
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as hf_logging

hf_logging.disable_progress_bar()
print("bitsandbytes", version("bitsandbytes"), "peft", version("peft"), "torch", version("torch"))
if not has_avx512bf16():
    print("this processor has no avx512_bf16: nothing is packed, nothing to show")
    sys.exit(77)

saved = tempfile.mkdtemp()
torch.manual_seed(0)
shape = LlamaConfig(
    vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=2,
)
LlamaForCausalLM(shape).save_pretrained(saved)
tokens = torch.randint(0, 96, (2, 12), generator=torch.Generator().manual_seed(2))


def fresh():
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    model = LlamaForCausalLM.from_pretrained(
        saved, quantization_config=four_bit, device_map="cpu", dtype=torch.float32
    )
    torch.manual_seed(1)
    # Random factors stand for an adapter after some training.
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))


def logits(model):
    with torch.no_grad():
        return model(input_ids=tokens).logits


def distance(new, old):
    return float((new - old).norm() / old.norm())


def lower_gradients(model):
    model.zero_grad()
    model.train()(input_ids=tokens, labels=tokens).loss.backward()
    grads = [p.grad.flatten() for n, p in model.named_parameters() if p.requires_grad and ".layers.0." in n]
    return torch.cat(grads)


model = fresh()
before, gradient = logits(model.train()), lower_gradients(model)
again = distance(lower_gradients(model), gradient)
logits(model.eval())
moved = distance(logits(model.train()), before)
turned = distance(lower_gradients(model), gradient)
merged = {}
for look in (False, True):
    model = fresh()
    expected = logits(model.train())
    if look:
        logits(model.eval())
    merged[look] = distance(logits(model.merge_and_unload().train()), expected)

print(f"training-mode logits moved by one evaluation:      {moved:.2%}")
print(f"gradients of layer 0, same batch again:            {again:.2%}")
print(f"gradients of layer 0, after one evaluation:        {turned:.1%}")
print(f"error of the merged model, never evaluated:        {merged[False]:.1%}  (4-bit rounding of the sum)")
print(f"error of the merged model, evaluated before:       {merged[True]:.1%}")
if not (0.0005 < moved < 0.02 and again == 0 and turned > 0.05 and merged[True] > 2 * merged[False]):
    sys.exit("CHANGED: one evaluation no longer does what the header says")
print("as stated: one forward pass in evaluation mode changes gradients and spoils the merge")
PY
