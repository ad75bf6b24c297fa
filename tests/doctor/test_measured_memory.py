"""The estimate of a training's memory against what its process really takes, for models of three sizes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.measured import make_base
from tests.doctor.test_training_memory import estimate
from w2s_core.doctor import memory
from w2s_core.doctor.fit import PROCESS
from w2s_core.doctor.lengths import longest
from w2s_core.models import encoder_of, folder_tokenizer
from w2s_core.prompting import zero_shot
from w2s_core.tasks import Problem

SIZES: dict[str, dict[str, Any]] = {
    "1 M": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_key_value_heads": 4},
    "20 M": {
        "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6,
        "num_key_value_heads": 6, "vocab_size": 16_000, "tie_word_embeddings": True,
    },
    "135 M": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": 49_152, "tie_word_embeddings": True,
    },
}  # fmt: skip
ROWS, WORDS, RANK = 4, 60, 32
STEP = """
import json, sys
from pathlib import Path
import torch
from tests.doctor.measured import trainer_of
from w2s_core.training import core
torch.set_num_threads(1)
base, work = map(Path, sys.argv[1:])
trainer, tokens = trainer_of(base, work, "sft", {rows}, {words}, like_a_gpu=False, rank={rank})
with core.quiet():
    trainer.train()
status = Path("/proc/self/status").read_text().splitlines()  # getrusage's peak begins as that of the parent
print(json.dumps([next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")), tokens]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_an_estimate_is_within_half_of_what_a_training_takes(tmp_path: Path, size: str) -> None:
    base = make_base(tmp_path / "base", "llama", **SIZES[size])
    program = STEP.format(rows=ROWS, words=WORDS, rank=RANK)
    command = ["nice", "-n", "10", sys.executable, "-c", program, str(base), str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)
    measured, tokens = json.loads(done.stdout.splitlines()[-1])
    estimated = PROCESS + sum(
        estimate(base, "sft", ROWS, tokens, gpu=False, trained=memory.Trained(RANK)).values()
    )
    assert 1 / 1.5 < estimated / measured < 1.5


def test_the_longest_rows_are_counted_in_the_models_own_tokens(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    problems = [
        Problem(str(n), " ".join(["7"] * n), "1", " ".join(["8"] * (300 - n)) + "\n#### 1", 1, "t")
        for n in range(300)
    ]
    lengths = longest(base, problems)
    assert lengths is not None
    words = 2 + len(
        zero_shot("").replace(":", " : ").split()
    )  # "Question", "Answer", two colons; BOS and EOS
    assert lengths.prompt == words + 299
    assert lengths.row == words + 300 + 2, "every row has 300 numbers, and ends in #### 1"
    told = longest(base, problems, {"user": "7 7 7 {question}", "system": "8 8"})
    assert told is not None
    assert (told.prompt, told.row) == (2 + 2 + 3 + 299, 2 + 2 + 3 + 300 + 2)
    assert longest(tmp_path, problems) is None
    assert longest(base, []) is None


def test_a_chats_rows_are_as_long_as_what_its_encoder_writes(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}Question : {{ m.content }} 1 1{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}Answer : {% endif %}"
    )
    prompt = {"form": "chat", "system": "8 8"}
    problem = Problem("a", "7 7 7", "1", "8\n#### 1", 1, "t")
    encoder = encoder_of(folder_tokenizer(base), prompt)
    written = len(encoder.prompt(problem.question)) + len(encoder.completion(problem.solution))
    lengths = longest(base, [problem], prompt)
    assert lengths is not None
    assert abs(lengths.row - written) <= 2, (lengths, written)  # the blank line after the system text
