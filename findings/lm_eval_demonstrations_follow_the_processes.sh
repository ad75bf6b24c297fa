#!/usr/bin/env bash
# Guess:     under one few-shot seed a question has one prompt. So two GPUs give the score that one gives, and a question
#            that is looked at by itself is asked as it was in the evaluation.
# Behaviour: all questions of a process draw their demonstrations from one generator, one after another. On two processes
#            (`accelerate launch`) a question's place among those of its process is another, and so are its
#            demonstrations: here the prompts of 23 of 24 questions differ. The same 23 differ where a question is asked
#            alone (`--samples`). `fewshot_config: {sampler: first_n}` gives every question the same demonstrations.
# Version:   lm_eval 0.4.13
# Source:    lm_eval/api/samplers.py: ContextSampler.sample draws from `self.rnd`, which `set_rnd` sets once a task;
#            lm_eval/utils.py: create_iterator gives each process every n-th question. A change that made the seed follow
#            the question was not merged: EleutherAI/lm-evaluation-harness#1724.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lm_eval==0.4.13 datasets==5.2.0 evaluate==0.4.6 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
TQDM_DISABLE=1 HF_HUB_OFFLINE=1 HF_HOME="$folder/cache" "$folder/venv/bin/python" -I -W ignore - <<'PY'
import json
import logging
import sys
from importlib.metadata import version
from pathlib import Path

logging.disable(logging.WARNING)
from lm_eval.api.task import ConfigurableTask

QUESTIONS, SHOTS, SEED = 24, 3, 1234


def write(name: str, start: int, number: int) -> str:
    """Sums with their answers, a JSON line each."""
    path = Path(f"{name}.jsonl").resolve()
    rows = [{"question": f"{start + i} + {i} =", "answer": str(start + 2 * i)} for i in range(number)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


FILES = {"train": write("train", 100, 40), "test": write("test", 500, QUESTIONS)}


def prompts(sampler: str, **which: object) -> dict[int, str]:
    """The prompts that a fresh task builds with one seed, by question."""
    task = ConfigurableTask(
        config={
            "task": "sums",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": FILES},
            "training_split": "train",
            "test_split": "test",
            "fewshot_split": "train",
            "fewshot_config": {"sampler": sampler},
            "num_fewshot": SHOTS,
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n"]},
        }
    )
    task.set_fewshot_seed(SEED)
    task.build_all_requests(**which)
    return {instance.doc_id: instance.args[0] for instance in task.instances}


def differing(sampler: str) -> tuple[int, int]:
    """Of how many questions the prompts differ: on two processes, and asked alone."""
    whole = prompts(sampler)
    halves = prompts(sampler, rank=0, world_size=2) | prompts(sampler, rank=1, world_size=2)
    alone = {}
    for question in range(QUESTIONS):
        alone |= {question: next(iter(prompts(sampler, samples=[question]).values()))}
    if not len(whole) == len(halves) == QUESTIONS:
        sys.exit(f"CHANGED: {len(whole)} and {len(halves)} questions were asked")
    if whole != prompts(sampler):
        sys.exit("CHANGED: the same call gives other prompts")
    return (
        sum(whole[question] != halves[question] for question in whole),
        sum(whole[question] != alone[question] for question in whole),
    )


print("lm_eval", version("lm_eval"))
drawn, first = differing("default"), differing("first_n")
for name, (processes, alone) in (("drawn", drawn), ("first_n", first)):
    print(f"{name}: of {QUESTIONS} prompts {processes} differ on two processes, {alone} where a question is asked alone")
if first != (0, 0):
    sys.exit("CHANGED: first_n depends on what else is asked")
if not all(number >= QUESTIONS // 2 for number in drawn):
    sys.exit("CHANGED: the prompt of a question hangs no more on what else its process asks")
print("as stated: a question's demonstrations hang on the questions before it in its process")
PY
