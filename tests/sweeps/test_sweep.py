"""`w2s sweep` as a user meets it, on a tiny lab: run, run again, widen, kill, fail, prune, and several at once."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.sweeps.conftest import Writer
from tests.tiny import REPOSITORY, write_experiment
from tests.typed import typed, typed_apart
from w2s_core.cli.options import TrackerChoice
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.tracking import trackers
from w2s_sweeps import commands
from w2s_sweeps.cells import CellPlanner, values_of
from w2s_sweeps.driver import How, Sweep
from w2s_sweeps.storage import default_url, has_study, open_storage
from w2s_sweeps.study_file import COSTS, Objective, load_study

optuna.logging.set_verbosity(optuna.logging.ERROR)


def command(*arguments: object, store: Path) -> list[str]:
    return [sys.executable, "-m", "w2s_core.cli", "--store", str(store), *map(str, arguments)]


def w2s(*arguments: object, store: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    # Workers end with the process, and an imported recipe would stay for other tests.
    call = typed_apart if {"--workers", "--import"} & set(arguments) else typed
    done = call("--store", store, *arguments, folder=Path.cwd())
    if check:
        assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


def study_file(folder: Path, **changes: Any) -> Path:
    fields = {
        "name": "tiny-study",
        "base": "tiny.yaml",
        "space": {"stage2.keep": [0.0, 0.3], "stage2.methods": [["dpo"], ["orpo"]]},
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(fields | changes))
    return path


def trials(store: Path, name: str = "tiny-study") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=open_storage(default_url(store))).trials


def computed(store: Path) -> Counter[str]:
    """How often each kind of step was computed to its end: the history gets a line each time."""
    lines = (store / "history.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["shape"] for line in lines)


def assert_each_key_once(root: Path) -> None:
    """Each result was computed whole once, or taken over from another; the history holds whole computations alone."""
    store = Store(root)
    reused: list[Any] = [store.manifest(key).get("reused") or {} for key in list(store.keys())]
    taken_over = sum("same_content_as" in part or "extends" in part for part in reused)
    assert sum(computed(root).values()) + taken_over == len(reused)


def digests(store: Path) -> dict[str, dict[str, str]]:
    """The digests of each result's files."""
    files = {}
    for path in (store / "objects").rglob("manifest.json"):
        manifest = json.loads(path.read_text())
        files[manifest["spec"]["key"]] = manifest["files"]
    return files


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep of four cells in its store."""
    folder = tmp_path_factory.mktemp("sweep")
    write_experiment(folder, evaluation={"samples": 0})
    done = w2s("sweep", study_file(folder), store=folder / "store")
    assert "1/4 trials: keep=0,methods=dpo: accuracy" in done.stderr
    assert "4/4 trials: keep=0.3,methods=orpo: accuracy" in done.stderr
    return folder


def test_the_sweep_computed_each_step_once_and_every_cell(lab: Path) -> None:
    complete = trials(lab / "store")
    assert [trial.state.name for trial in complete] == ["COMPLETE"] * 4
    assert [tuple(trial.params.values()) for trial in complete] == [
        (k, m) for k in (0.0, 0.3) for m in ("dpo", "orpo")
    ]
    store = Store(lab / "store")
    reused: list[Any] = [store.manifest(key).get("reused") or {} for key in list(store.keys())]
    assert any("same_content_as" in part for part in reused)
    assert_each_key_once(lab / "store")


def test_a_trial_is_a_run_with_the_value_of_its_own_grades(lab: Path) -> None:
    store = Store(lab / "store")
    for trial in trials(lab / "store"):
        record = store.refs.read(trial.user_attrs["runs"][0])
        assert record["study"] == "tiny-study"
        assert record["cell"] == trial.params
        method = trial.params["stage2.methods"]
        summary = store.manifest(record["targets"][f"greedy/dev/{method}"])["summary"]
        assert trial.values == [summary.get("right", 0) / summary["questions"]]


def test_a_cost_counts_the_tokens_behind_the_final_model_once(lab: Path) -> None:
    store = Store(lab / "store")
    objectives = [Objective(metric=name, direction="minimize") for name in COSTS]
    planner = CellPlanner(load_study(lab / "study.yaml"))
    for cell in planner.space.cells():
        (run,) = planner.plan(cell).runs
        cost = dict(zip(COSTS, values_of(objectives, run, store, "study.yaml"), strict=True))
        evaluation = store.manifest(run.graph.targets[f"greedy/dev/{cell.shown['stage2.methods']}"].key)
        answers = store.manifest(evaluation["spec"]["inputs"]["responses"])
        spent: Counter[str] = Counter()
        counted, stack = set(), [answers["spec"]["inputs"]["model"]]
        while stack:  # by the manifests, not by the graph
            if (key := stack.pop()) not in counted:
                counted.add(key)
                manifest = store.manifest(key)
                spent[manifest["spec"]["step"]] += manifest["summary"].get("tokens", 0)
                stack += [parent for parent in manifest["spec"]["inputs"].values() if parent]
        assert cost["training_tokens"] == spent["sft"] + spent["prefer"] > 0
        assert cost["sampling_tokens"] == spent["sample"] > 0
        assert cost["tokens"] == cost["training_tokens"] + cost["sampling_tokens"]


def test_test_is_read_for_the_best_cell_only_and_this_is_recorded(lab: Path) -> None:
    store = Store(lab / "store")
    study = optuna.load_study(study_name="tiny-study", storage=open_storage(default_url(lab / "store")))
    (read,) = study.user_attrs["test_reads"]
    assert len(read["cells"]) == 1
    records = {name: store.refs.read(name) for name in store.refs.names("tiny-study/")}
    with_test = [name for name, record in records.items() if any("/test/" in t for t in record["targets"])]
    assert with_test == study.best_trial.user_attrs["runs"]
    assert [name for name, record in records.items() if record["test_read"]] == with_test


def test_a_second_sweep_does_nothing(lab: Path) -> None:
    before = (lab / "store" / "history.jsonl").read_text()
    refs = {path: path.stat().st_mtime_ns for path in (lab / "store" / "refs").rglob("*.json")}
    done = w2s("sweep", lab / "study.yaml", store=lab / "store")
    assert "started" not in done.stderr
    assert "keep=0.3,methods=orpo" in done.stdout
    assert (lab / "store" / "history.jsonl").read_text() == before
    assert {path: path.stat().st_mtime_ns for path in refs} == refs
    assert len(trials(lab / "store")) == 4


def test_a_result_that_was_lost_is_computed_again(lab: Path) -> None:
    store = Store(lab / "store")
    trial = trials(lab / "store")[2]
    key = store.refs.read(trial.user_attrs["runs"][0])["targets"]["greedy/dev/hybrid_ft_1"]
    shutil.rmtree(store.folder(key))
    done = w2s("sweep", lab / "study.yaml", store=lab / "store")
    assert "done: 1 computed" in done.stderr
    assert Store(lab / "store").has(key)
    assert len(trials(lab / "store")) == 4


def test_a_dry_run_counts_and_creates_nothing(lab: Path, tmp_path: Path) -> None:
    wider = study_file(tmp_path, space={"stage2.keep": [0.0, 0.5], "stage2.methods": [["dpo"], ["orpo"]]})
    write_experiment(tmp_path, evaluation={"samples": 0})
    done = w2s("sweep", wider, "--dry-run", store=tmp_path / "store")
    assert "4 trials x 1 seed, 0 settled" in done.stdout
    counts = re.search(
        r"(\d+) distinct steps for (\d+) of single runs, 0 cached, (\d+) to compute", done.stdout
    )
    assert counts
    distinct, alone, missing = map(int, counts.groups())
    path = study_file(tmp_path, space={"stage2.keep": [0.0], "stage2.methods": [["dpo"]]}, name="one")
    single = w2s("sweep", path, "--dry-run", store=tmp_path / "store").stdout
    assert f"{alone // 4} distinct steps for {alone // 4} of single runs" in single
    assert distinct == missing < alone // 2
    assert not (tmp_path / "store" / "studies.db").exists()
    known = w2s("sweep", lab / "study.yaml", "--dry-run", store=lab / "store").stdout
    assert "4 trials x 1 seed, 4 settled" in known
    assert "57 cached, 0 to compute" in known


def test_a_lost_database_is_told_and_made_anew(lab: Path, tmp_path: Path) -> None:
    for part in ("tiny.yaml", "study.yaml"):
        shutil.copy(lab / part, tmp_path)
    store = shutil.copytree(lab / "store", tmp_path / "store")
    before, history = trials(store), (store / "history.jsonl").read_text()
    (store / "studies.db").unlink()
    told = w2s("sweep", tmp_path / "study.yaml", store=store, check=False)
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1
    assert f"study 'tiny-study' is lost: {len(before)} of its trials are noted" in told.stderr
    assert (
        w2s("sweep", tmp_path / "study.yaml", "--rebuild", "--dry-run", store=store, check=False).returncode
        == 2
    )
    done = w2s("sweep", tmp_path / "study.yaml", "--rebuild", store=store)
    assert f"studies.db is made anew: tiny-study ({len(before)} trials)" in done.stderr.splitlines()[0]
    assert trials(store) == before
    assert (store / "history.jsonl").read_text() == history


def test_a_dry_run_of_a_wider_space_leaves_the_study_as_it_is(lab: Path, tmp_path: Path) -> None:
    write_experiment(tmp_path, evaluation={"samples": 0})
    wider = study_file(tmp_path, space={"stage2.keep": [0.0, 0.3], "stage2.methods": [["dpo"], ["orpo"], []]})
    before = (lab / "store" / "studies.db").read_bytes()
    done = w2s("sweep", wider, "--dry-run", store=lab / "store")
    assert "6 trials x 1 seed, 4 settled" in done.stdout
    assert (lab / "store" / "studies.db").read_bytes() == before


def test_a_wider_space_runs_only_the_new_cells(lab: Path) -> None:
    path = study_file(
        lab, space={"stage2.keep": [0.0, 0.3], "stage2.methods": [["dpo"], ["orpo"], []]}, test="none"
    )
    before = computed(lab / "store")
    done = w2s("sweep", path, store=lab / "store")
    assert [trial.state.name for trial in trials(lab / "store")] == ["COMPLETE"] * 6
    assert "prefer" not in done.stderr, "a cell without Stage II needs no more training"
    assert computed(lab / "store") == before, "nothing new at all: M_plus was graded by the other cells"
    study_file(lab)


def test_an_objective_that_a_value_lacks_leaves_no_study_behind(write_study: Writer, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    path = write_study(objectives=[{"metric": "greedy/dev/dpo"}])  # and no orpo
    with pytest.raises(UserError, match="greedy/dev/dpo"):
        Sweep(load_study(path), store, How())
    assert not has_study(default_url(store.root), "tiny-study")


@pytest.mark.slow
def test_an_empty_agreed_set_fails_its_cell_and_no_other(write_study: Writer, tmp_path: Path) -> None:
    fixed = {"stage1.samples": 3, "stage2.methods": ["dpo"]}
    path = write_study(fixed=fixed, space={"stage1.consistency": [0.0, 1.0]})
    done = w2s("sweep", path, store=tmp_path / "store", check=False)
    assert done.returncode == 1
    assert "w2s: no result: consistency=1: needs" in done.stderr
    assert "the two sides agree on none" in done.stderr
    assert [trial.state.name for trial in trials(tmp_path / "store")] == ["COMPLETE", "FAIL"]
    assert re.search(r"consistency=0 .* complete", done.stdout), "the rest goes on, to its test"


def test_a_failing_step_is_tried_again_as_often_as_the_study_says(
    write_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import w2s_core.training

    attempts: Counter[str] = Counter()
    original = w2s_core.training.train

    def failing(model: Any, examples: Any, settings: Any, *more: Any) -> Any:
        attempts[settings.method] += 1
        if settings.method == "orpo" or (settings.method == "dpo" and attempts["dpo"] == 1):
            raise RuntimeError("no luck")
        return original(model, examples, settings, *more)

    monkeypatch.setattr(w2s_core.training, "train", failing)
    path = write_study(space={"stage2.methods": [["dpo"], ["orpo"]]}, retries=2, test="none")
    swept = Sweep(load_study(path), Store(tmp_path / "store"), How()).run()
    assert attempts["orpo"] == 3
    assert attempts["dpo"] == 2, "the second try did it"
    assert swept.complete == 1
    assert list(swept.failed) == ["methods=orpo"]
    assert "RuntimeError: no luck" in swept.failed["methods=orpo"]
    monkeypatch.undo()
    swept = Sweep(load_study(path), Store(tmp_path / "store"), How()).run()
    assert (swept.complete, swept.failed) == (2, {})


@pytest.mark.slow
def test_a_recipe_of_the_users_own_is_swept_pruned_and_tried(
    write_plain_study: Writer, tmp_path: Path
) -> None:
    store, plugin = tmp_path / "store", ("--import", REPOSITORY / "tests" / "sweeps" / "plain_recipe.py")
    path = write_plain_study(
        space={"rounds": [1, 2]}, pruner={"name": "median"}, sampler={"name": "grid", "batch": 2}
    )
    done = w2s(*plugin, "sweep", path, store=store)
    assert "2/2 trials: rounds=2: accuracy" in done.stderr
    assert re.search(r"rounds=\d +\d+\.\d +\d+\.\d +complete", done.stdout), "test was read for the best"
    both = trials(store, "plain-study")
    assert [sorted(trial.intermediate_values) for trial in both] == [[1], [1, 2]]
    record = Store(store).refs.read(both[1].user_attrs["runs"][0])
    assert record["recipe"] == "plain"
    before = computed(store)
    done = w2s(*plugin, "trial", path, "rounds=2", store=store)
    assert done.stdout.splitlines()[-1] == f"accuracy {both[1].value:.6g}"
    assert computed(store) == before
    # Apart: this process has the recipe already.
    lacking = typed_apart("--store", store, "sweep", path, folder=Path.cwd())
    assert lacking.returncode == 2
    assert "unknown recipe 'plain'" in lacking.stderr
    assert len(lacking.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("means", [("--workers", 4), ("--executor", "ray", "--workers", 2)])
def test_the_means_of_computing_change_no_bit(lab: Path, tmp_path: Path, means: tuple[object, ...]) -> None:
    if "ray" in means:
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'w2s[ray]'")
    write_experiment(tmp_path, evaluation={"samples": 0})
    w2s("sweep", study_file(tmp_path), *means, store=tmp_path / "store")
    parallel, serial = digests(tmp_path / "store"), digests(lab / "store")
    assert {key: serial[key] for key in parallel} == parallel
    expected, four = trials(lab / "store")[:4], trials(tmp_path / "store")
    assert [(t.params, t.values) for t in expected] == [(t.params, t.values) for t in four]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_driver_is_taken_over_at_once(tmp_path: Path, workers: int) -> None:
    write_experiment(tmp_path, evaluation={"samples": 0})
    sampler = {"name": "tpe", "trials": 4, "batch": 2}
    path = study_file(tmp_path, sampler=sampler, test="none")
    store = tmp_path / "store"
    for wanted in (8, 30):
        driver = subprocess.Popen(
            command("sweep", path, "--workers", workers, store=store), stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while len(digests(store)) < wanted and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    finished = digests(store)
    finished_at = {path: path.stat().st_mtime_ns for path in (store / "objects").rglob("manifest.json")}
    w2s("sweep", path, "--workers", workers, store=store)
    assert {path: path.stat().st_mtime_ns for path in finished_at} == finished_at, (
        "nothing finished was computed again"
    )
    assert finished.items() <= digests(store).items()
    assert Counter(trial.state.name for trial in trials(store)) == {"COMPLETE": 4}


@pytest.mark.slow
def test_two_drivers_at_once_share_the_work(lab: Path, tmp_path: Path) -> None:
    write_experiment(tmp_path, evaluation={"samples": 0})
    path, store = study_file(tmp_path), tmp_path / "store"
    drivers = [
        subprocess.Popen(command("sweep", path, store=store), stderr=subprocess.PIPE) for _ in range(2)
    ]
    for driver in drivers:
        _, output = driver.communicate(timeout=300)
        assert driver.returncode == 0, output[-2000:]
    assert_each_key_once(store)
    assert [(t.params, t.values) for t in trials(store)] == [
        (t.params, t.values) for t in trials(lab / "store")[:4]
    ]


@pytest.mark.slow
def test_pruned_cells_are_not_computed_further(
    write_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = []

    def prunes(self: Any, slot: Any, intermediate: dict[int, float]) -> bool:
        rate = slot.cell.shown["sft.learning_rate"]
        questions.append((rate, sorted(intermediate)))
        return bool(rate < 1e-6)

    monkeypatch.setattr("w2s_sweeps.optuna_study.OptunaStudy.prunes", prunes)
    path = write_study(
        experiment={"stage1": {"iterations": 2}},
        space={"sft.learning_rate": [3e-3, 1e-9], "stage2.methods": [["dpo"]]},
        pruner={"name": "median"},
        sampler={"name": "grid", "batch": 2},
        test="none",
    )
    store = Store(tmp_path / "store")
    swept = Sweep(load_study(path), store, How()).run()
    assert (swept.complete, swept.pruned) == (1, 1)
    assert questions == [(3e-3, [1]), (1e-9, [1]), (3e-3, [1, 2])]
    whole, given_up = (
        store.refs.read(trial.user_attrs["runs"][0])["steps"] for trial in trials(tmp_path / "store")
    )
    assert all(store.has(key) for key in whole.values())
    assert store.has(given_up["greedy/dev/hybrid_ft_1"])
    for label in ("sft:hybrid_ft_2", "prefer:dpo", "greedy/dev/hybrid_ft_2"):
        assert label in given_up
        assert not store.has(given_up[label])


@pytest.mark.slow
def test_trials_are_runs_of_one_group_in_the_trackers(lab: Path, tmp_path: Path) -> None:
    from tests.tracking.offline import read_offline_runs

    store = tmp_path / "store"
    shutil.copytree(lab / "store", store)
    for _ in range(
        2
    ):  # a study that is complete already is shown too, and a second time it replaces what was shown
        w2s("sweep", lab / "study.yaml", "--wandb", store=store)
    runs = read_offline_runs(store / "trackers" / "wandb")
    assert len(runs) == 4
    assert {run["group"] for run in runs} == {"tiny-study"}
    for run in runs:
        (trial,) = (trial for trial in trials(store) if trial.params == run["config"]["cell"])
        assert run["summary"]["accuracy"] == trial.value
    stages = [run["config"]["stages"] for run in runs]
    assert len({stage["sft:hybrid_ft_1"] for stage in stages}) == 1, (
        "all cells share M_plus, and its key says so"
    )
    assert len({stage.get("prefer:dpo") for stage in stages}) == 3


def test_a_tracker_that_hangs_costs_one_trial(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hanging = ("hangs", "tests.tracking.backends_that_fail:hangs")
    monkeypatch.setattr(trackers, "BACKENDS", {"hangs": hanging})
    monkeypatch.setattr(trackers.send, "__kwdefaults__", {"limit_s": 1.0})
    choice = TrackerChoice(("hangs",), online=False)
    store = Store(lab / "store")
    mirror = commands._mirror(store, lab / "store", "g", choice)
    first, second, *_ = store.refs.names("tiny-study/")
    start = time.monotonic()
    for name in (first, second):
        mirror(name, {})
    assert capsys.readouterr().err.splitlines() == [
        "w2s: warning: hangs did not mirror this run (it was not done within 1 s); its results are not affected",
        "w2s: warning: hangs gets no more trials of this sweep",
    ]
    assert time.monotonic() - start < 10
