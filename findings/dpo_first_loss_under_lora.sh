#!/usr/bin/env bash
# Guess:     A DPO run that has not stepped yet has policy = reference, so its first loss is ln 2, whatever the adapter.
# Behaviour: With LoRA initialised by PiSSA or OLoRA the first loss is another number. Those two initialisations subtract
#            the adapter's start from the base weights; DPOTrainer's reference is the model with the adapter switched off,
#            so the reference is not the model that training starts from, and rewards are measured from a damaged one.
#            The default, "gaussian" and "orthogonal" initialisations start at ln 2.
# Version:   trl 1.16.0, peft 0.21.2, transformers 5.19.0, torch 2.13.0
# Source:    trl/trainer/dpo_trainer.py (the reference of a PEFT model is the model without its adapter);
#            peft/tuners/lora/layer.py, pissa_init and olora_init (both write to the base layer's weight).
# A fresh environment with torch takes a few minutes and about 1 GB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 trl==1.16.0 peft==0.21.2 transformers==5.19.0 \
    accelerate==1.15.0 datasets==5.2.0 tokenizers==0.23.3
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 TMPDIR="$folder" HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$folder/venv/bin/python" -I - <<'PY'
import contextlib
import io
import logging
import math
import sys
import tempfile
import warnings
from importlib.metadata import version

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

WORDS = "<pad> </s> what is 1 2 3 4 5 6 7 8 plus ? the answer".split()
backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")
PAIRS = [
    {
        "prompt": f"what is {a} plus {b} ?",
        "chosen": f" the answer is {a + b}",
        "rejected": f" the answer is {a + b + 1}",
    }
    for a in range(1, 5)
    for b in range(1, 3)
]


def first_loss(initialisation):
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, initializer_range=0.2,
    )
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=initialisation)
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        settings = DPOConfig(
            out, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", save_strategy="no",
            max_steps=1, per_device_train_batch_size=len(PAIRS), logging_steps=1, disable_tqdm=True, seed=1,
        )
        trainer = DPOTrainer(
            model=LlamaForCausalLM(shape), args=settings, train_dataset=Dataset.from_list(PAIRS),
            processing_class=tokenizer, peft_config=adapter,
        )
        trainer.train()
        return float(trainer.state.log_history[0]["loss"])


print("trl", version("trl"), "peft", version("peft"), "transformers", version("transformers"))
losses = {name: first_loss(name) for name in (True, "gaussian", "orthogonal", "pissa", "olora")}
for name, loss in losses.items():
    print(f"init_lora_weights={name!s:<12} first loss {loss:.4f}   (ln 2 = {math.log(2):.4f})")
equal = {name: abs(loss - math.log(2)) < 1e-4 for name, loss in losses.items()}
if equal != {True: True, "gaussian": True, "orthogonal": True, "pissa": False, "olora": False}:
    sys.exit("CHANGED: only PiSSA and OLoRA started off ln 2 when this was written")
print("as stated: PiSSA and OLoRA do not start at ln 2, the others do")
PY
