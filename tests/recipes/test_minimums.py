"""Sets that are too small to train on: a branch stops or warns, by the experiment's choice, and gold is never read."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.placeholders import experiment, handles_of, walk
from w2s_core.engine import Context
from w2s_core.errors import StopBranch
from w2s_core.rows import write_rows
from w2s_core.steps.select import agree
from w2s_core.steps.train import prefer

LIMITS = {"agreed": 3, "parsed": 0.5}


def responses(folder: Path, texts: list[list[str]]) -> Path:
    folder.mkdir(parents=True)
    write_rows(
        folder / "rows.parquet", [{"id": f"q{i}", "responses": drawn} for i, drawn in enumerate(texts)]
    )
    return folder


def run(step: Any, folder: Path, **inputs: Any) -> dict[str, Any]:
    """The summary of a step on these inputs."""
    context = Context("0" * 64, folder, folder / "work", {}, lambda _: None, folder / "kept")
    (folder / "shown").mkdir(exist_ok=True)
    write_rows(folder / "shown" / "rows.parquet", [{"id": "none", "question": "", "response": ""}])
    summary: dict[str, Any] = step.function(context, exclude=folder / "shown", rule="gsm8k", **inputs)
    return summary


def sides(folder: Path, alike: int, unread: int) -> dict[str, Path]:
    """Ten questions: on so many both sides answer the same, and so many in-context answers have no final answer."""
    weak = [[f"#### {i}"] for i in range(10)]
    icl = [[f"#### {i}" if i < alike else "no" if i >= 10 - unread else "#### 99"] for i in range(10)]
    return {"weak": responses(folder / "weak", weak), "icl": responses(folder / "icl", icl)}


@pytest.mark.parametrize(
    ("alike", "unread", "words"),
    [
        (2, 0, "2 questions are agreed on, minimums.agreed is 3"),
        (4, 6, "40.0% of the in-context answers can be read, minimums.parsed is 0.5"),
    ],
)
def test_too_little_agreement_stops_or_warns_with_the_reason(
    tmp_path: Path, alike: int, unread: int, words: str
) -> None:
    given = sides(tmp_path, alike, unread)
    summary = run(agree, tmp_path, **given, warn_below=LIMITS)
    assert summary["warning"] == words
    assert summary["kept"] == alike
    with pytest.raises(StopBranch, match=rf"^{words}: too little to train on$"):
        run(agree, tmp_path, **given, stop_below=LIMITS)


def test_what_reaches_its_minimum_neither_stops_nor_warns(tmp_path: Path) -> None:
    given = sides(tmp_path, alike=3, unread=5)
    assert "warning" not in run(agree, tmp_path, **given, stop_below=LIMITS)
    assert "warning" not in run(agree, tmp_path, **given, warn_below=LIMITS)


def test_too_few_pairs_stop_before_the_training_or_warn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("w2s_core.steps.train._train", lambda *_: {"steps": 1})
    for name, fields in (("questions", {"question": "1?"}), ("pairs", {"chosen": "1", "rejected": "2"})):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "rows.parquet", [{"id": str(i), **fields} for i in range(2)])
    given = {name: tmp_path / name for name in ("questions", "pairs")}
    warned: list[str] = []
    ctx = Context(
        "0" * 64, tmp_path, tmp_path / "work", {}, lambda _: None, tmp_path / "kept", warn=warned.append
    )
    train = partial(prefer.function, ctx, model=tmp_path, method="dpo", settings={}, seed=0, **given)
    assert train(warn_below={"pairs": 3}) == {"steps": 1, "warning": "2 pairs, minimums.pairs is 3"}
    with pytest.raises(StopBranch, match="2 pairs, minimums.pairs is 3: too little to train on"):
        train(stop_below={"pairs": 3})
    assert train(stop_below={"pairs": 2}) == {"steps": 1}
    assert warned == ["2 pairs, minimums.pairs is 3"]


def test_only_limits_that_stop_are_in_keys() -> None:
    def keys(**minimums: Any) -> set[str]:
        return {handle.key for handle in walk(handles_of(experiment(minimums=minimums)).values())}

    assert keys() == keys(agreed=500, parsed=1.0, pairs=500)
    assert keys(on_too_few="stop") != keys()
    assert keys(on_too_few="stop", agreed=30) != keys(on_too_few="stop")


def test_the_default_is_left_out_of_records_and_digests() -> None:
    assert "minimums" not in experiment().model_dump(mode="json")
    assert experiment(minimums={"agreed": 30}).model_dump(mode="json")["minimums"]["agreed"] == 30


def test_in_context_answers_are_measured_once_in_the_first_iteration() -> None:
    handles = walk(handles_of(experiment(minimums={"on_too_few": "stop"})).values())
    limits = [handle.params["stop_below"] for handle in handles if handle.name == "agree"]
    assert sorted(map(len, limits)) == [1] * (len(limits) - 1) + [2]
