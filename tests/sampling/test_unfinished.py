"""A sampling that was killed goes on where it was, and its result is that of a straight one."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.harness import in_child
from w2s_core.prompting import zero_shot
from w2s_core.sampling import Generation, SamplingParams, TransformersEngine
from w2s_core.sampling.unfinished import Place, Unfinished

PROMPTS = [(f"q{i}", zero_shot("abc " * (i % 5) + str(i))) for i in range(14)]
PARAMS = SamplingParams(12, n=3, temperature=1.0, seed=4)
BATCH = 5


def engine_of(model_of: Any, tokenizer: Any) -> TransformersEngine:
    return TransformersEngine(model_of("llama"), tokenizer, batch_size=BATCH)


def counted(batches: int) -> Any:
    """A progress callback that kills its process after so many batches."""
    seen = []

    def tell(done: int, total: int, unit: str) -> None:
        if done and done % BATCH == 0 and done not in seen:
            seen.append(done)
        if len(seen) > batches:
            os.kill(os.getpid(), signal.SIGKILL)

    return tell


@pytest.mark.parametrize("batches", [0, 1, 4])
def test_killed_and_started_again(batches: int, tmp_path: Path, model_of: Any, tokenizer: Any) -> None:
    straight = engine_of(model_of, tokenizer).generate(PROMPTS, PARAMS)
    path = tmp_path / "responses.jsonl"

    def work() -> None:
        engine_of(model_of, tokenizer).generate(PROMPTS, PARAMS, unfinished=path, progress=counted(batches))

    assert in_child(work) == -signal.SIGKILL
    before = path.read_text().count("\n") if path.is_file() else 0
    assert before == batches
    made: list[int] = []
    again = engine_of(model_of, tokenizer).generate(
        PROMPTS, PARAMS, unfinished=path, progress=lambda done, total, unit: made.append(done)
    )
    assert again == straight
    assert min(made) > before * BATCH, "what was made is not made again"


@pytest.mark.parametrize(
    "junk", ["[[10, 0,", '[[10, 0, "a", "b", "eos"]]\n', "null\n", '[["x", 0, "a", 1, "eos"]]\n', "\0\n"]
)
def test_a_torn_or_foreign_line_is_made_anew(
    junk: str, tmp_path: Path, model_of: Any, tokenizer: Any
) -> None:
    path = tmp_path / "responses.jsonl"
    straight = engine_of(model_of, tokenizer).generate(PROMPTS, PARAMS, unfinished=path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + junk)
    assert engine_of(model_of, tokenizer).generate(PROMPTS, PARAMS, unfinished=path) == straight
    assert path.read_text().splitlines(keepends=True) == lines


def test_a_file_of_a_larger_sampling_is_not_used(tmp_path: Path, model_of: Any, tokenizer: Any) -> None:
    path = tmp_path / "responses.jsonl"
    engine_of(model_of, tokenizer).generate(PROMPTS, PARAMS, unfinished=path)
    fewer = engine_of(model_of, tokenizer).generate(PROMPTS[:3], PARAMS, unfinished=path)
    assert fewer == engine_of(model_of, tokenizer).generate(PROMPTS[:3], PARAMS)


@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.integers(0, 9), st.integers(0, 9)),
            st.builds(Generation, st.text(), st.integers(0, 999), st.sampled_from(["eos", "stop", "length"])),
            min_size=1,
        ),
        max_size=5,
    ),
    st.integers(0, 400),
)
def test_any_text_survives_and_any_tear_leaves_whole_batches(
    tmp_path_factory: pytest.TempPathFactory, batches: list[dict[Place, Generation]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("tear") / "responses.jsonl"
    kept = Unfinished(path)
    united: list[dict[Place, Generation]] = [{}]
    for batch in batches:
        kept.add(batch)
        united.append(united[-1] | batch)
    assert kept.read() == united[-1]
    if path.is_file():
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - cut)])
        assert kept.read() == united[path.read_text().count("\n")]
