"""Which runs a report is made of, how they are put together, and which setting is shown."""

import pytest

from tests.analysis.synthetic import TRUTH, TinyStore, add_run
from w2s_analysis.parts.settings import settings_tables
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import make_groups
from w2s_analysis.reading.study import SHOWN_GROUPS, make_study, open_frames
from w2s_core.errors import UserError


def test_a_study_is_the_runs_that_name_it(store: TinyStore) -> None:
    add_run(store, "a", n=12)
    add_run(store, "b", n=12, seed=1)
    store.refs.records["b"]["study"] = "sweep"
    assert list(open_frames(store, study="sweep").records) == ["b"]
    with pytest.raises(UserError, match="no run belongs to a study 'swep'; there are: sweep"):
        open_frames(store, study="swep")


def test_without_a_choice_all_runs_count_if_they_share_task_and_strong_model(store: TinyStore) -> None:
    with pytest.raises(UserError, match="no run yet"):
        open_frames(store)
    add_run(store, "a", n=12)
    store.refs.records["note"] = {"text": "another kind of record"}
    assert list(open_frames(store).records) == ["a"]
    add_run(store, "b", n=12)
    store.refs.records["b"]["strong"] = "stronger"
    with pytest.raises(UserError, match=r"mini with strong \(1 runs\); mini with stronger \(1 runs\)"):
        open_frames(store)
    with pytest.raises(UserError, match=r"several strong models \(strong, stronger\)"):
        make_study(load_frames(store, ["a", "b"]))


def test_runs_that_only_differ_in_what_they_output_are_put_together(store: TinyStore) -> None:
    """A sweep over DPO and ORPO has two runs a cell, which share all but the last step."""
    add_run(store, "both", n=60, settings={"stage2": {"methods": ["dpo", "orpo"]}})
    whole = store.refs.records["both"]
    for method, other in (("dpo", "orpo"), ("orpo", "dpo")):
        targets = {label: key for label, key in whole["targets"].items() if not label.endswith(other)}
        settings = {**whole["experiment"], "stage2": {"methods": [method]}}
        store.refs.records[method] = whole | {"targets": targets, "experiment": settings}
    whole_group, split_group = (
        make_groups(load_frames(store, names))[0] for names in (["both"], ["dpo", "orpo"])
    )
    assert split_group.runs == ["dpo+orpo"]
    assert split_group.all_runs == ["dpo", "orpo"]
    for method in TRUTH:
        assert (whole_group.table(method) == split_group.table(method)).all()


def test_of_two_runs_with_other_results_the_newer_counts_unless_both_are_named(store: TinyStore) -> None:
    add_run(store, "old", n=12)
    add_run(store, "new", n=12)
    store.refs.records["new"]["started"] = "2026-11-24T00:00:00+00:00"
    with pytest.raises(UserError, match="one experiment with one seed"):
        make_study(load_frames(store, ["old", "new"]))
    study = make_study(open_frames(store), named=False)
    assert study.runs == ["new"]
    assert "Left out" in study.left_out
    assert "old" in study.left_out


def on_dev(store: TinyStore, name: str) -> None:
    """Turn a run's results on test into results on dev, as a sweep has them."""
    record = store.refs.records[name]
    record["targets"] = {label.replace("/test/", "/dev/"): key for label, key in record["targets"].items()}


def test_a_sweep_on_dev_is_shown_on_dev_and_its_final_cells_on_test(store: TinyStore) -> None:
    for value in (0.5, 1.0):
        add_run(store, f"r{value}", n=60, settings={"stage1": {"iterations": 2, "consistency": value}})
        on_dev(store, f"r{value}")
    study = make_study(open_frames(store), named=False)
    assert {group.split for group in study.groups} == {"dev"}
    targets = store.refs.records["r0.5"]["targets"]
    targets |= {label.replace("/dev/", "/test/"): key for label, key in targets.items() if "/dev/" in label}
    study = make_study(open_frames(store), named=False)
    assert [(group.split, group.settings["stage1.consistency"]) for group in study.detailed] == [
        ("test", 0.5)
    ]
    splits = {row["setting"].text: row["split"].text for row in settings_tables(study)[0].rows}
    assert splits == {"base setting": "test", "stage1.consistency=1.0": "dev"}
    assert study.further.startswith("1 further setting: see settings.md")


def test_of_many_settings_the_papers_own_is_shown(store: TinyStore) -> None:
    values = [i / SHOWN_GROUPS for i in range(SHOWN_GROUPS + 1)]
    for value in values:
        add_run(store, f"r{value:.3f}", n=6, settings={"stage1": {"iterations": 2, "consistency": value}})
    study = make_study(load_frames(store, list(store.refs.records)))
    assert len(study.groups) == SHOWN_GROUPS + 1
    assert [group.settings["stage1.consistency"] for group in study.detailed] == [1.0]
    assert study.detailed[0].name == "llama"
    assert "Shown here: stage1.consistency=1.0" in study.further
    assert len(settings_tables(study)[0].rows) == SHOWN_GROUPS + 1


def test_the_commonest_setting_is_the_base_before_the_papers(store: TinyStore) -> None:
    add_run(store, "a", weak="llama", n=6, settings={"stage1": {"iterations": 2, "consistency": 0.5}})
    add_run(store, "b", weak="llama", n=6, settings={"stage1": {"iterations": 2, "consistency": 1.0}})
    add_run(store, "c", weak="mistral", n=6, settings={"stage1": {"iterations": 2, "consistency": 0.5}})
    study = make_study(load_frames(store, ["a", "b", "c"]))
    assert [group.settings["stage1.consistency"] for group in study.bases] == [0.5, 0.5]
