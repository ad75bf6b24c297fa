#!/usr/bin/env bash
# Guess:     tokenizer.json is the tokenizer. The tokenizer_class in tokenizer_config.json only chooses the Python
#            class around it.
# Behaviour: Under LlamaTokenizer (LlamaTokenizerFast is the same class now) pre-tokenizer and decoder of tokenizer.json are
#            thrown away for SentencePiece's. A byte-level vocabulary has no "▁", so blanks and line ends fall out:
#            "12 plus 34" comes back as "12plus34". Other ids, no warning. Under PreTrainedTokenizerFast, Qwen2Tokenizer or
#            no class at all the file's own parts are kept.
#            transformers itself lists some published models by name for which it leaves the named class aside; one's own
#            model with that class in its configuration is not among them.
# Version:   transformers 5.19.0, tokenizers 0.23.3
# Source:    transformers/models/llama/tokenization_llama.py, LlamaTokenizer.__init__ (sets pre_tokenizer and decoder).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.19.0 tokenizers==0.23.3
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" -I - <<'PY'
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

TEXT = "12 plus 34\nis 46"
Path("model").mkdir()
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    special_tokens=["<s>", "</s>"], show_progress=False,
)
tokenizer.train_from_iterator(["what is 12 plus 34 ? 12 plus 34 is 46 ."] * 20, trainer)
tokenizer.save("model/tokenizer.json")
expected = tokenizer.encode(TEXT).ids


def load(name):
    config = {"bos_token": "<s>", "eos_token": "</s>"} | ({"tokenizer_class": name} if name else {})
    Path("model/tokenizer_config.json").write_text(json.dumps(config))
    return AutoTokenizer.from_pretrained("model")


print("transformers", version("transformers"), "tokenizers", version("tokenizers"))
kept = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name in (None, "PreTrainedTokenizerFast", "Qwen2Tokenizer", "LlamaTokenizer", "LlamaTokenizerFast"):
        loaded = load(name)
        ids = loaded(TEXT, add_special_tokens=False)["input_ids"]
        kept[name] = ids == expected and loaded.decode(ids) == TEXT
        print(f"{name!s:<24} ids as in the file: {ids == expected!s:<6} {TEXT!r} -> {loaded.decode(ids)!r}")
print("warnings:", [str(warning.message) for warning in caught])
if [name for name, same in kept.items() if not same] != ["LlamaTokenizer", "LlamaTokenizerFast"]:
    sys.exit("CHANGED: other classes, or none, replace the parts of tokenizer.json now")
print("as stated: under Llama's class names the file's pre-tokenizer is replaced")
PY
