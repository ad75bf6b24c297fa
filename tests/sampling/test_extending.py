"""A sampling draws only what no stored one of its stream holds, and its result is that of a straight one."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.engine.test_store import corrupt
from tests.tiny import BASES
from w2s_core.engine import Handle, Outcome, Store, explain, run_graph, step
from w2s_core.models import base_ref
from w2s_core.prompting import zero_shot
from w2s_core.rows import Row, write_rows
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.sampling.interface import Generation
from w2s_core.steps import base_model, sample

BASE = BASES / "llama"
BASE_REF = base_ref(BASE)
WORDS = ("two", "five", "ten", "four", "nine", "six")


@step(version=1, gives="questions")
def asks(ctx: Any, *, names: Sequence[int], other: bool = False) -> Row:
    """Questions about numbers; `other` asks something else under the same ids."""
    rows = [
        {"id": f"q{name}", "question": f"{'lee' if other else 'amy'} has {WORDS[name]} pens ."}
        for name in names
    ]
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}


def drawing(names: Sequence[int] = range(6), *, other: bool = False, **settings: Any) -> Handle:
    asked = asks(names=list(names), other=other)
    fields = {"n": 1, "temperature": 0.8, "max_new_tokens": 12, "seed": 3} | settings
    return sample(model=base_model(ref=BASE_REF), questions=asked, **fields)


def run(store: Store, *handles: Handle, workers: int = 1) -> Outcome:
    runtime = {"bases": {BASE_REF: str(BASE)}, "device": "cpu"}
    targets = {str(place): handle for place, handle in enumerate(handles)}
    imports = {"modules": [__name__]}
    outcome = run_graph(targets, store, runtime=runtime, workers=workers, imports=imports)
    assert outcome.complete, outcome
    return outcome


def content(store: Store, handle: Handle) -> bytes:
    return (store.path(handle.key) / "rows.parquet").read_bytes()


def straight(tmp_path: Path, handle: Handle) -> bytes:
    fresh = Store(tmp_path / f"straight-{handle.key}")
    run(fresh, handle)
    return content(fresh, handle)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The responses that engines of this process drew, by question and number."""
    from w2s_core.sampling import transformers_engine

    requests: list[tuple[str, int]] = []
    original = transformers_engine.run_batch

    def counting(model: Any, chunk: Any, *rest: Any) -> Any:
        requests.extend((request.name, request.number) for request in chunk)
        return original(model, chunk, *rest)

    monkeypatch.setattr(transformers_engine, "run_batch", counting)
    return requests


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_more_of_the_same_draws_the_later_ones_only(
    store: Store, tmp_path: Path, drawn: list[tuple[str, int]]
) -> None:
    few, many = drawing(n=4), drawing(n=10)
    run(store, few)
    drawn.clear()
    run(store, many)
    assert sorted(drawn) == sorted((f"q{i}", number) for i in range(6) for number in range(4, 10))
    assert f"extends {few.key[:12]} from 4 to 10" in str(explain(many, store))
    manifest = store.manifest(many.key)
    assert 0 < manifest["reused"]["saved_s"] <= store.manifest(few.key)["duration_s"]
    assert content(store, many) == straight(tmp_path, many)


def test_fewer_are_the_beginning_and_load_no_model(
    store: Store, tmp_path: Path, drawn: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, drawing(n=4))
    with monkeypatch.context() as patch:
        patch.setattr("w2s_core.models.load_model", None)
        run(store, drawing(n=1))
        run(store, drawing([2, 0], n=3))
    assert "the first 1 of 4" in str(explain(drawing(n=1), store))
    for handle in (drawing(n=1), drawing([2, 0], n=3)):
        assert content(store, handle) == straight(tmp_path, handle)


def test_of_several_numbers_in_one_run_the_largest_is_drawn_and_the_others_are_its_beginnings(
    store: Store, drawn: list[tuple[str, int]]
) -> None:
    few, many, middle = handles = [drawing(n=n) for n in (1, 10, 4)]
    run(store, *handles)
    assert sorted(drawn) == sorted((f"q{i}", number) for i in range(6) for number in range(10))
    reused = {handle.key: store.manifest(handle.key).get("reused") for handle in handles}
    assert reused[many.key] is None
    assert reused[few.key]
    assert reused[middle.key]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_other_subsets_of_the_questions_share_their_part(
    temperature: float, store: Store, tmp_path: Path, drawn: list[tuple[str, int]]
) -> None:
    n = 1 if not temperature else 2
    left, whole = drawing([0, 1, 2], temperature=temperature, n=n), drawing(temperature=temperature, n=n)
    run(store, left, drawing([5], temperature=temperature, n=n))
    drawn.clear()
    run(store, whole)
    assert {name for name, _ in drawn} == {"q3", "q4"}
    assert f"extends {left.key[:12]} {3 * n} of its {3 * n} responses" in str(explain(whole, store))
    assert content(store, whole) == straight(tmp_path, whole)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"temperature": 0.7},
        {"temperature": {"temperature": 0.8, "top_k": 5}},
        {"max_new_tokens": 11},
        {"precision": "bfloat16"},
        {"other": True},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_decides_a_draw_is_drawn_anew(
    other: dict[str, Any], store: Store, drawn: list[tuple[str, int]]
) -> None:
    run(store, drawing([0, 1], n=2))
    drawn.clear()
    run(store, drawing([0, 1], n=2, **other))
    assert len(drawn) == 4


def test_questions_of_one_id_and_another_text_are_not_taken(store: Store, tmp_path: Path) -> None:
    run(store, drawing(n=2))
    assert content(store, run_and(store, drawing(n=2, other=True))) == straight(
        tmp_path, drawing(n=2, other=True)
    )


def run_and(store: Store, handle: Handle) -> Handle:
    run(store, handle)
    return handle


def test_a_damaged_sampling_is_not_extended(store: Store, tmp_path: Path) -> None:
    run(store, drawing(n=2))
    corrupt(store.folder(drawing(n=2).key) / "rows.parquet")
    fresh = Store(store.root)
    run(fresh, drawing(n=3))
    assert content(fresh, drawing(n=3)) == straight(tmp_path, drawing(n=3))
    assert len(list((store.root / "quarantine").iterdir())) == 1


def test_a_sampling_that_gc_takes_away_meanwhile_is_drawn_anew(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from w2s_core.steps import sample as module  # the step itself: its module is found by name

    run(store, drawing(n=2), drawing([0], n=3))
    steps = sys.modules["w2s_core.steps.sample"]
    assert module is steps.sample
    original = steps.read_rows

    def racing(path: Path) -> Any:
        if path.parent.name == drawing(n=2).key:
            shutil.rmtree(path.parent)
        return original(path)

    monkeypatch.setattr(steps, "read_rows", racing)
    run(store, drawing(n=3))
    monkeypatch.undo()
    assert content(store, drawing(n=3)) == straight(tmp_path, drawing(n=3))
    assert set(store.manifest(drawing(n=3).key)["reused"]["extends"]) == {drawing([0], n=3).key}


@pytest.mark.slow
def test_workers_extend_as_one_process_does(store: Store, tmp_path: Path) -> None:
    handles = [drawing(n=n) for n in (2, 4)]
    run(store, *handles, workers=2)
    for handle in handles:
        assert content(store, handle) == straight(tmp_path, handle)
    taken = [store.manifest(handle.key).get("reused") for handle in handles]
    assert taken.count(None) == 1, "one of them was drawn whole, the other took from it"


def test_a_killed_extension_goes_on_though_what_it_extended_is_gone(
    tmp_path: Path, model_of: Any, tokenizer: Any
) -> None:
    """What was known to the first process is not to the second: places tell which responses are drawn already."""
    prompts = [(f"q{i}", zero_shot("abc " * i + "1")) for i in range(6)]
    params = SamplingParams(12, n=4, temperature=1.0, seed=4)

    def engine() -> TransformersEngine:
        return TransformersEngine(model_of("llama"), tokenizer, batch_size=5)

    expected = engine().generate(prompts, params)
    path = tmp_path / "responses.jsonl"
    known = [responses[:2] for responses in expected]
    assert engine().generate(prompts, params, known=known, unfinished=path) == expected
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert engine().generate(prompts, params, unfinished=path) == expected


# vLLM, by a stand-in with its seeds: sample i of a request is drawn with the request's seed plus i


class FakeLlm:
    """Each response is a function of the prompt's tokens and of its own seed."""

    llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=999))

    def __init__(self) -> None:
        self.drawn = 0

    def generate(self, inputs: list[Any], sampling: list[Any], **_: Any) -> list[Any]:
        outputs = []
        for prompt, params in zip(inputs, sampling, strict=True):
            self.drawn += params.n
            completions = [
                SimpleNamespace(
                    index=index,
                    text=f"{prompt['prompt_token_ids']} {params.seed + index}",
                    token_ids=[1],
                    finish_reason="stop",
                    stop_reason=None,
                )
                for index in range(params.n)
            ]
            outputs.append(SimpleNamespace(outputs=completions[::-1]))
        return outputs


def test_vllm_draws_the_later_responses_with_later_seeds(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from w2s_core.sampling.vllm_engine import VllmEngine

    stub = ModuleType("vllm")
    stub.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", stub)
    engine: Any = object.__new__(VllmEngine)
    engine._tokenizer, engine._llm, engine._request = tokenizer, FakeLlm(), None
    prompts = [(f"q{i}", zero_shot(str(i))) for i in range(4)]
    path = tmp_path / "responses.jsonl"

    def generate(n: int, known: Sequence[Sequence[Generation]] = ()) -> list[list[Generation]]:
        responses: list[list[Generation]] = engine.generate(
            prompts, SamplingParams(9, n=n, temperature=1.0, seed=5), known=known, unfinished=path
        )
        path.unlink(missing_ok=True)
        return responses

    expected = generate(6)
    assert len({response.text for responses in expected for response in responses}) == 24
    assert generate(2) == [responses[:2] for responses in expected]
    engine._llm.drawn = 0
    known = [responses[:place] for place, responses in enumerate(expected)]
    assert generate(6, known) == expected
    assert engine._llm.drawn == 24 - 6
