"""Which runs are one experiment over its seeds: their models count by content, not by the folder they lay in."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.synthetic import TinyStore, add_run
from tests.tiny import write_experiment
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import MAX_SUBJECTS, make_groups
from w2s_analysis.reading.study import by_companions, make_study
from w2s_core.experiment import load_experiment


def add(store: TinyStore, name: str, seed: int, folder: str, **record: Any) -> None:
    add_run(store, name, seed=seed, n=24, settings={"weak": f"{folder}/llama", "strong": f"{folder}/strong"})
    store.refs.records[name] |= record


def grouped(store: TinyStore) -> list[list[str]]:
    return sorted(group.all_runs for group in make_groups(load_frames(store, list(store.refs.names()))))


@pytest.mark.parametrize(
    "known",
    [{"models": {"weak": "sha256:1", "strong": "sha256:2"}}, {"steps": {"base_model:sha256:1": "k"}}],
    ids=["by the record", "by the steps, in older records"],
)
def test_the_same_models_in_two_folders_are_one_experiment(store: TinyStore, known: dict[str, Any]) -> None:
    add(store, "laptop", 0, "/home/me", **known)
    add(store, "cluster", 1, "/scratch", **known)
    assert grouped(store) == [["laptop", "cluster"]]


def test_the_same_models_in_renamed_folders_are_one_experiment(store: TinyStore) -> None:
    known = {"models": {"weak": "sha256:1", "strong": "sha256:2"}}
    for seed, names in enumerate((("llama", "strong"), ("llama-moved", "big"))):
        places = dict(zip(("weak", "strong"), (f"/{seed}/{name}" for name in names), strict=True))
        add_run(store, f"run-{seed}", seed=seed, n=24, settings=places)
        store.refs.records[f"run-{seed}"] |= known | dict(zip(("weak", "strong"), names, strict=True))
    assert grouped(store) == [["run-0", "run-1"]]
    frames = load_frames(store, ["run-0", "run-1"])
    assert [models for models, _ in by_companions(frames)] == [{"strong": "strong"}]
    assert len(make_study(frames).groups) == 1


def test_other_models_of_one_name_are_two_experiments_and_told_apart(store: TinyStore) -> None:
    add(store, "one", 0, "/a", models={"weak": "sha256:1", "strong": "sha256:2"})
    add(store, "two", 0, "/a", models={"weak": "sha256:3", "strong": "sha256:2"})
    assert grouped(store) == [["one"], ["two"]]
    groups = make_groups(load_frames(store, ["one", "two"]))
    assert [group.name for group in groups] == ["llama (1)", "llama (2)"]


def test_folders_count_where_nothing_tells_what_they_held(store: TinyStore) -> None:
    for name, folder in (("one", "/a"), ("two", "/b")):
        add(store, name, 0, folder)
        store.refs.records[name].pop("steps")
    assert grouped(store) == [["one"], ["two"]]


def test_a_field_that_came_after_a_run_has_its_default_there(store: TinyStore, tmp_path: Path) -> None:
    whole = json.loads(load_experiment(write_experiment(tmp_path)).model_dump_json())
    earlier = {name: value for name, value in whole.items() if name != "trust_remote_code"}
    for seed, (name, experiment) in enumerate({"before": earlier, "now": whole}.items()):
        add(store, name, seed, "/a", experiment=experiment | {"seed": seed})
    assert grouped(store) == [["before", "now"]]
    add(store, "other", 2, "/a", experiment=whole | {"trust_remote_code": True, "seed": 2})
    assert grouped(store) == [["before", "now"], ["other"]]


def taught(store: TinyStore, weak: str, steps: int, **stage1: Any) -> None:
    name = f"{weak}-{steps}-{stage1.get('consistency', 1.0)}"
    settings = {"weak_sft": {"max_steps": steps}, "stage1": {"iterations": 2, "consistency": 1.0} | stage1}
    add_run(store, name, weak=weak, n=24, settings=settings)


def test_a_base_taught_in_two_ways_is_two_weak_models(store: TinyStore) -> None:
    for steps in (300, 75):
        taught(store, "llama", steps)
        taught(store, "llama", steps, consistency=0.5)
    taught(store, "mistral", 300)
    groups = make_groups(load_frames(store, list(store.refs.names())))
    assert list(dict.fromkeys(group.subject for group in groups)) == [
        "llama, weak_sft.max_steps=75",
        "llama, weak_sft.max_steps=300",
        "mistral",
    ]
    assert groups[1].name == "llama, weak_sft.max_steps=75, stage1.consistency=0.5"


def test_a_search_for_the_best_way_to_teach_is_of_one_weak_model(store: TinyStore) -> None:
    for steps in range(MAX_SUBJECTS + 1):
        taught(store, "llama", steps)
    groups = make_groups(load_frames(store, list(store.refs.names())))
    assert {group.subject for group in groups} == {"llama"}
    assert groups[0].name == "llama, weak_sft.max_steps=0"
