#!/usr/bin/env bash
# Guess:     a stream shuffled with a fixed seed and split by take(10) and skip(10) gives ten examples to hold out and the
#            others to train on. The documentation asks for this order: shuffle first, then split.
# Behaviour: that holds in epoch 0 only. From epoch 1 on set_epoch shuffles anew below the split, so other examples are the
#            first ten, and what was held out is trained on: of 40 examples 7 or 8 of the ten held out in each later
#            epoch, and all ten within five. transformers' Trainer calls set_epoch by itself and evaluates on the ten of
#            epoch 0 throughout; nothing warns. Splitting first and shuffling only the part to train on keeps them apart.
# Version:   datasets 5.2.0, transformers 5.19.0, accelerate 1.15.0, torch 2.13.0
# Source:    datasets/iterable_dataset.py: _prepare_ex_iterable_for_iteration (skip and take refuse a new order of shards;
#            shift_ex_examples_rngs moves the seed of the shuffle below them all the same); transformers/trainer.py calls
#            train_dataloader.set_epoch. The advice stands in docs/source/stream.mdx of huggingface/datasets, under "Split
#            dataset"; its issue 5435 (closed) raised the question.
# A fresh environment with torch takes a few minutes and about 1 GB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 datasets==5.2.0 transformers==5.19.0 accelerate==1.15.0
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 TMPDIR="$folder"
"$folder/venv/bin/python" -I - <<'PY'
import logging
import sys
import warnings
from importlib.metadata import version

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

EXAMPLES, HELD_OUT, EPOCHS = 40, 10, 5


def stream(shards=1):
    return Dataset.from_dict({"number": list(range(EXAMPLES))}).to_iterable_dataset(num_shards=shards)


def shuffled_then_split(shards):
    shuffled = stream(shards).shuffle(seed=0, buffer_size=1000)
    return shuffled.take(HELD_OUT), shuffled.skip(HELD_OUT)


def split_then_shuffled(shards):
    return stream(shards).take(HELD_OUT), stream(shards).skip(HELD_OUT).shuffle(seed=0, buffer_size=1000)


def trained_on(split, shards):
    """How many of the held-out examples each epoch trains on, and how many all of them together do."""
    held_out, train = split(shards)
    held_out = {row["number"] for row in held_out}
    shares, together = [], set()
    for epoch in range(EPOCHS):
        train.set_epoch(epoch)
        seen = [row["number"] for row in train]
        assert len(seen) == len(set(seen)) == EXAMPLES - HELD_OUT
        shares.append(len(held_out & set(seen)))
        together |= held_out & set(seen)
    return shares, len(together)


class Watch(torch.nn.Module):
    """A model that notes the examples it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = {True: [], False: []}

    def forward(self, number):
        self.seen[self.training] += number.tolist()
        return {"loss": (self.weight - number.float()).square().mean()}


def under_trainer(split):
    held_out, train = split(1)
    steps = (EXAMPLES - HELD_OUT) // 10
    settings = TrainingArguments(
        "out", max_steps=EPOCHS * steps, per_device_train_batch_size=10, per_device_eval_batch_size=10, use_cpu=True,
        eval_strategy="steps", eval_steps=steps, save_strategy="no", report_to="none", disable_tqdm=True,
        label_names=["number"],
    )
    model = Watch()
    trainer = Trainer(model=model, args=settings, train_dataset=train, eval_dataset=held_out)
    trainer.log = lambda *_, **__: None
    trainer.train()
    evaluated = {tuple(sorted(model.seen[False][i : i + HELD_OUT])) for i in range(0, len(model.seen[False]), HELD_OUT)}
    batches = [model.seen[True][i : i + 10 * steps] for i in range(0, len(model.seen[True]), 10 * steps)]
    tested = set().union(*evaluated)
    return [len(tested & set(batch)) for batch in batches], len(evaluated), len(tested & set().union(*batches))


print(*(f"{name} {version(name)}" for name in ("datasets", "transformers", "accelerate", "torch")))
as_stated = True
for split in (shuffled_then_split, split_then_shuffled):
    for shards in (1, 4):
        shares, together = trained_on(split, shards)
        print(f"{split.__name__}, {shards} shard(s): held-out examples trained on by epoch {shares}, in all {together}")
        leaks = shares[0] == 0 and min(shares[1:]) > 0 and together >= 9
        as_stated &= leaks if split is shuffled_then_split else together == 0
    shares, sets, together = under_trainer(split)
    print(f"{split.__name__}, Trainer: by epoch {shares}, in all {together}; sets evaluated on: {sets}")
    leaks = shares[0] == 0 and min(shares[1:]) > 0 and together >= 9
    as_stated &= sets == 1 and (leaks if split is shuffled_then_split else together == 0)
if not as_stated:
    sys.exit("CHANGED: what was held out is kept apart, or is not as the header states")
print("as stated: from epoch 1 on a stream shuffled before its split trains on what was held out")
PY
