"""Frames hold what the store holds, row by row, and say what it lacks."""

from pathlib import Path

import numpy as np
import pytest

from tests.analysis.synthetic import TRUTH, TinyStore, add_run
from tests.oracle_evaluation import accuracy, counts, mean_pass_at_k
from w2s_analysis.reading.frame import GRADES, load_frames, read_grades
from w2s_analysis.reading.groups import make_groups
from w2s_core.errors import UserError
from w2s_core.rows import read_rows, write_rows


def test_one_row_for_each_run_method_kind_and_question(study: TinyStore) -> None:
    frames = load_frames(study, list(study.refs.names()))
    keys = ["run", "method", "kind", "id"]
    assert not frames.grades.duplicated(keys).any()
    assert len(frames.grades) == 9 * 240 * (len(TRUTH) + 3 + 5)
    assert set(frames.runs["weak"]) == {"qwen2", "llama", "mistral"}
    assert frames.targets["present"].all()


def test_columns_equal_a_plain_count_of_the_rows_on_disk(one_run: TinyStore) -> None:
    folder = one_run.path("solo-samples-test-dpo")
    rows, columns = read_rows(folder / GRADES), read_grades(folder)
    assert columns["id"].tolist() == [row["id"] for row in rows]
    assert columns["c"].tolist() == [row["verdicts"].count("right") for row in rows]
    assert columns["n"].tolist() == [10] * len(rows)
    assert columns["right"].tolist() == [row["verdicts"][0] == "right" for row in rows]
    counted = counts(rows)
    assert columns["unparsed"].sum() == counted.unparsed
    assert columns["truncated"].sum() == counted.truncated


def test_lists_of_several_lengths_are_kept_apart(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(i),
            "level": None,
            "template": None,
            "verdicts": v,
            "tokens": [1] * len(v),
            "finish": ["eos"] * len(v),
        }
        for i, v in enumerate([["wrong"], ["right", "wrong", "right"], ["unparsed", "right"]])
    ]
    write_rows(tmp_path / GRADES, rows)
    columns = read_grades(tmp_path)
    assert columns["n"].tolist() == [1, 3, 2]
    assert columns["c"].tolist() == [0, 2, 1]
    assert columns["right"].tolist() == [False, True, False]


def test_tables_of_a_group_equal_evaluation_of_the_rows(one_run: TinyStore) -> None:
    group = make_groups(load_frames(one_run, ["solo"]))[0]
    rows = read_rows(one_run.path("solo-greedy-test-weak_icl") / GRADES)
    assert group.table("weak_icl").mean() == pytest.approx(accuracy(rows))
    sampled = read_rows(one_run.path("solo-samples-test-dpo") / GRADES)
    assert group.table("dpo", k=10).mean() == pytest.approx(mean_pass_at_k(sampled, 10))
    assert group.table("dpo", k=4).mean() == pytest.approx(mean_pass_at_k(sampled, 4))


def test_missing_results_are_marked_not_dropped(store: TinyStore) -> None:
    add_run(store, "a", missing=("greedy/test/dpo",))
    frames = load_frames(store, ["a"])
    absent = frames.targets[~frames.targets["present"]]
    assert absent["label"].tolist() == ["greedy/test/dpo"]
    group = make_groups(frames)[0]
    assert "dpo" in group.planned()
    assert group.present("dpo") == []


def test_a_run_without_any_result_yet(store: TinyStore) -> None:
    store.refs.records["new"] = {"run": "new", "weak": "w", "targets": {"greedy/test/dpo": "none"}}
    frames = load_frames(store, ["new"])
    assert len(frames.grades) == len(frames.labels) == len(frames.pairs) == 0
    assert make_groups(frames)[0].table("dpo").shape == (0, 0)


def test_pairs_carry_the_verdicts_of_both_sides_by_row(one_run: TinyStore) -> None:
    pairs = load_frames(one_run, ["solo"]).pairs
    chosen = read_rows(one_run.path("solo-pc") / GRADES)
    assert pairs["chosen_right"].tolist() == [row["verdicts"][0] == "right" for row in chosen]
    assert set(pairs["chosen_words"]) == {3.0}


def test_grades_of_other_pairs_are_refused(store: TinyStore) -> None:
    add_run(store, "a")
    store.refs.records["a"]["targets"]["labels/pairs_chosen"] = "a-weak_0"
    with pytest.raises(UserError, match="other pairs"):
        _ = load_frames(store, ["a"]).pairs


def test_seeds_of_one_experiment_are_one_group_and_other_settings_are_another(store: TinyStore) -> None:
    add_run(store, "a", seed=1)
    add_run(store, "b", seed=0)
    add_run(store, "c", seed=0, settings={"stage1": {"iterations": 2, "consistency": 0.5}})
    groups = make_groups(load_frames(store, ["a", "b", "c"]))
    assert [group.runs for group in groups] == [["b", "a"], ["c"]]
    assert groups[0].seeds == [0, 1]
    assert groups[1].name == "llama, stage1.consistency=0.5"


def test_one_seed_twice_and_other_questions_are_refused(store: TinyStore) -> None:
    add_run(store, "a", seed=0)
    add_run(store, "b", seed=0)
    with pytest.raises(UserError, match=r"a, b .* one seed \(0\)"):
        make_groups(load_frames(store, ["a", "b"]))
    add_run(store, "c", seed=1, n=239)
    with pytest.raises(UserError, match="different questions"):
        make_groups(load_frames(store, ["a", "c"]))[0].table("dpo")


def test_bad_names_and_bad_files_are_one_line(store: TinyStore) -> None:
    with pytest.raises(UserError, match="no run named"):
        load_frames(store, [])
    add_run(store, "a")
    with pytest.raises(UserError, match="twice"):
        load_frames(store, ["a", "a"])
    store.refs.records["x"] = {"note": "no run"}
    with pytest.raises(UserError, match="no run"):
        load_frames(store, ["x"])
    (store.path("a-weak_0") / GRADES).write_bytes(b"no parquet")
    with pytest.raises(UserError, match="no readable Parquet"):
        _ = load_frames(store, ["a"]).labels
    (store.path("a-weak_0") / GRADES).unlink()
    with pytest.raises(UserError, match="missing"):
        _ = load_frames(store, ["a"]).labels


def test_a_result_shared_by_runs_is_read_once(store: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import w2s_analysis.reading.results as module

    add_run(store, "a", seed=0)
    add_run(store, "b", seed=1)
    shared = store.refs.records["a"]["targets"]["greedy/test/ceiling"]
    store.refs.records["b"]["targets"]["greedy/test/ceiling"] = shared
    read: list[str] = []
    original = module.read_graded
    monkeypatch.setattr(
        module, "read_graded", lambda folder, *more: read.append(folder.name) or original(folder, *more)
    )
    frames = load_frames(store, ["a", "b"])
    group = make_groups(frames)[0]
    both = group.table("ceiling")
    assert np.array_equal(both[0], both[1])
    assert len(frames.grades) > 0
    assert sorted(read) == sorted(set(read)), "frames and tables share what is read"
