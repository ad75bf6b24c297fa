"""What is read from a run's record: of any recipe, old or new, whole or damaged."""

from typing import Any

import pytest

from tests.dashboard.stores import (
    FOREIGN_OUTLINE,
    foreign_record_of,
    foreign_targets_of,
    old_record_of,
    record_of,
    targets_of,
)
from w2s_analysis.dashboard.run import Run, read_run
from w2s_core.errors import UserError


def foreign_record() -> dict[str, Any]:
    return foreign_record_of("f", foreign_targets_of("f"), {}, 0, 0)


def _run(**fields: Any) -> Run:
    return read_run("x", {"experiment": fields, "targets": {}})


def test_an_old_record_reads_as_the_new_one_of_the_same_run() -> None:
    record = record_of("one", targets_of("one"), {"weak": "/bases/mistral"}, 3, 0)
    old = old_record_of(record)
    assert not {"recipe", "outline", "bases"} & old.keys()
    new_run, old_run = read_run("one", record), read_run("one", old)
    assert old_run.metrics == new_run.metrics
    assert old_run.fields == new_run.fields
    assert old_run.bases == {"weak": "mistral", "strong": "strong"}
    assert old_run.recipe == "weak_to_strong"


def test_a_run_of_a_recipe_that_is_not_installed_has_its_titles_and_base_models() -> None:
    run = read_run("f", foreign_record())
    assert (run.recipe, run.bases, run.trouble) == ("distil", {"model": "qwen"}, None)
    assert run.fields == {"recipe": "distil", "name": "x", "seed": 0, "model": "qwen", "rounds": 2}
    assert run.metrics["accuracy/test/dpo"].title == "preferred"
    assert run.metrics["precision/voted"].title == "majority votes"


def test_a_target_that_the_run_does_not_have_makes_no_column() -> None:
    record = foreign_record()
    del record["targets"]["greedy/test/few"]
    assert "accuracy/test/few" not in read_run("f", record).metrics


@pytest.mark.parametrize("record", [[], None, {}, {"targets": []}, {"targets": {"greedy/test/dpo": 3}}])
def test_what_names_no_targets_is_no_run(record: Any) -> None:
    with pytest.raises(UserError, match=r"^'x' is no run: its record names no targets$"):
        read_run("x", record)


@pytest.mark.parametrize(
    "outline", [3, {"a": 1}, [3], ["greedy"], [{}], [{"kind": "greedy", "unknown": 1}], [[]], None]
)
def test_a_damaged_outline_costs_the_columns_and_is_told(outline: Any) -> None:
    run = read_run("f", foreign_record() | {"outline": outline})
    assert run.metrics == {}
    assert run.trouble is not None
    assert run.trouble.startswith("run 'f': no result has a column, its outline is damaged (")
    assert run.fields["rounds"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"title": 3}, {"title": None}, {"title": "<b>x</b>"}, {"name": ["a"]}, {"kind": "other"}, {"kind": {}},
        {"role": "hero"}, {"role": []}, {"split": 4}, {"split": None},
    ],
)  # fmt: skip
def test_a_damaged_target_costs_its_own_column_and_is_told(change: dict[str, Any]) -> None:
    record = foreign_record()
    record["outline"][0] |= change
    run = read_run("f", record)
    assert run.trouble == "run 'f': 1 targets have no column, their labels or titles are no plain words"
    assert "accuracy/test/base" not in run.metrics
    assert "accuracy/test/few" in run.metrics
    assert len(run.outline) == len(FOREIGN_OUTLINE) - 1


@pytest.mark.parametrize("bases", [3, ["weak"], {"weak": 3}, None])
def test_damaged_base_models_are_left_out(bases: Any) -> None:
    assert read_run("f", foreign_record() | {"bases": bases}).bases == {}


def test_no_setting_takes_the_place_of_another_column() -> None:
    fields = _run(run="x", state="y", study="z", **{"accuracy/test/dpo": 3}).fields
    assert {f"experiment.{name}" for name in ("run", "state", "study", "accuracy/test/dpo")} <= fields.keys()
    assert not {"run", "state", "study", "accuracy/test/dpo"} & fields.keys()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "true"), (None, ""), (["dpo", "orpo"], "dpo, orpo"), (0.5, 0.5), ({}, ""), ("x", "x")],
)
def test_settings_are_shown_as_text_or_number(value: Any, shown: Any) -> None:
    assert _run(field=value).fields["field"] == shown
