"""The frame behind the table: settings that differ, settings of several recipes, filters and groups."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dashboard.stores import FOREIGN, add_foreign_run, add_run
from w2s_analysis.dashboard.catalogue import Catalogue, Snapshot
from w2s_analysis.dashboard.frame import (
    BESIDE,
    all_fields,
    default_fields,
    group_values,
    header_filter,
    runs_frame,
)
from w2s_analysis.dashboard.run import Run, read_run
from w2s_analysis.dashboard.settings import differing, settings
from w2s_core.engine import Store

DPO = "accuracy/test/M_plus + DPO"


def snapshot_of(store: Store) -> Snapshot:
    catalogue = Catalogue(store)
    catalogue.update()
    return catalogue.snapshot


@pytest.fixture
def two_recipes(store: Store) -> Snapshot:
    """Two runs of each of two recipes, which have a field of one name."""
    for seed in (0, 1):
        add_run(store, f"ours-{seed}", seed=seed, settings={"rounds": "many"}, minute=2 * seed)
        add_foreign_run(store, f"foreign-{seed}", seed=seed, minute=2 * seed + 1)
    return snapshot_of(store)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=5))
def test_the_shown_settings_tell_runs_apart_and_no_other_does(fields: list[dict[str, int]]) -> None:
    names = differing(fields)
    for name in names:
        assert len({values.get(name) for values in fields}) > 1
    for name in set("abc") - set(names):
        assert len({values.get(name) for values in fields}) == 1


def test_the_frame_shows_settings_that_differ(shown_store: Store) -> None:
    snapshot = snapshot_of(shown_store)
    fields = default_fields(snapshot)
    assert set(fields) == {"seed", "weak", "stage1.consistency", "study"}
    coverage = "coverage/last agreed"
    frame = runs_frame(snapshot, fields, [DPO, coverage])
    assert frame["run"].tolist()[0] == "mistral-2"
    assert frame["weak"].tolist() == ["mistral"] * 3 + ["llama"] * 3
    assert frame["seed"].tolist() == [2, 1, 0, 2, 1, 0]
    for value, ((low, high, _), of_coverage) in zip(frame[DPO], frame[BESIDE], strict=True):
        assert low < value < high
        assert of_coverage == [None, None, None]
    assert header_filter(frame, "weak")["type"] == header_filter(frame, "seed")["type"] == "list"
    assert header_filter(frame, "run")["type"] == "input"
    assert header_filter(frame, DPO, result=True)["func"] == ">="


def test_runs_of_two_recipes_stand_side_by_side(two_recipes: Snapshot) -> None:
    """Only what tells runs apart beyond their recipe is shown at first, though most fields are of one recipe."""
    fields = default_fields(two_recipes)
    assert fields == ["recipe", "rounds", "seed"]
    frame = runs_frame(two_recipes, fields, [DPO, "accuracy/test/preferred"]).set_index("run")
    assert frame["recipe"].to_dict() == {
        name: FOREIGN if name.startswith("foreign") else "weak_to_strong" for name in frame.index
    }
    assert frame.loc["foreign-0", "rounds"] == "2"
    assert frame.loc["ours-0", "rounds"] == "many"
    assert frame[DPO].notna().to_dict() == {name: name.startswith("ours") for name in frame.index}
    assert frame["accuracy/test/preferred"].notna().to_dict() == {
        name: name.startswith("foreign") for name in frame.index
    }
    assert {"weak", "strong", "model"} <= set(all_fields(two_recipes))
    models = runs_frame(two_recipes, ["weak", "model"], [])[["weak", "model"]]
    assert models.to_numpy().tolist() == [["", "qwen"], ["llama", ""]] * 2


def test_runs_of_two_recipes_are_never_one_group(two_recipes: Snapshot) -> None:
    groups = dict(zip(two_recipes.runs, group_values(two_recipes, "seed"), strict=True))
    assert len(set(groups.values())) == 4
    assert groups["ours-1"] == "1 · weak_to_strong"
    assert set(group_values(two_recipes, "recipe")) == {FOREIGN, "weak_to_strong"}


def test_a_group_of_one_recipe_is_called_by_its_value(shown_store: Store) -> None:
    assert set(group_values(snapshot_of(shown_store), "seed")) == {"0", "1", "2"}


def test_values_that_could_be_html_are_not_listed(shown_store: Store) -> None:
    frame = runs_frame(Catalogue(shown_store).snapshot, ["weak"], [])
    frame.loc[0, "weak"] = "<b>"
    assert header_filter(frame, "weak")["type"] == "input"


def _run(field: str, path: str, content: str | None = None) -> Run:
    record: dict[str, Any] = {"experiment": {field: path}, "bases": {field: path.rsplit("/", 1)[-1]}}
    record |= {"models": {field: content}} if content else {}
    return read_run(path, {"recipe": "any", "targets": {}, "outline": [], **record})


@pytest.mark.parametrize("field", ["weak", "model"])
def test_models_of_one_name_in_two_folders_are_told_apart(field: str) -> None:
    apart = settings([_run(field, "/a/llama"), _run(field, "/b/qwen")])
    assert [fields[field] for fields in apart] == ["llama", "qwen"]
    alike = settings([_run(field, "/a/llama"), _run(field, "/b/llama")])
    assert [fields[field] for fields in alike] == ["a/llama", "b/llama"], (
        "the ends of the paths, which differ"
    )


@pytest.mark.parametrize("field", ["weak", "model"])
def test_models_are_told_apart_by_content_and_shown_by_path(field: str) -> None:
    moved = settings([_run(field, "/new/llama-1b", "f:1"), _run(field, "/old/llama", "f:1")])
    assert [fields[field] for fields in moved] == ["llama-1b", "llama-1b"]
    assert differing(moved) == []
    trained_on = settings([_run(field, "/a/llama", "f:11111111"), _run(field, "/a/llama", "f:22222222")])
    assert [fields[field] for fields in trained_on] == ["/a/llama (11111111)", "/a/llama (22222222)"]


def test_a_record_without_an_experiment_is_shown_too(store: Store) -> None:
    add_run(store, "one")
    record = store.refs.read("one")
    store.refs.write("bare", {"targets": record["targets"], "started": "never"})
    snapshot = snapshot_of(store)
    frame = runs_frame(snapshot, default_fields(snapshot), [DPO]).set_index("run")
    assert frame.loc["bare", "started"] == ""
    assert frame.loc["bare", DPO] == frame.loc["one", DPO]
