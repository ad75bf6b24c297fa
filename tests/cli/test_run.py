"""What a user types, end to end on a tiny lab: run, run again, look, damage, collect, and every kind of mistake."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny import BASES, write_experiment
from tests.typed import typed, typed_apart
from w2s_core.cli.main import main
from w2s_core.engine.refs import Refs


def w2s(*arguments: object, store: Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    call = typed_apart if "--workers" in arguments else typed
    done = call("--store", store, *arguments, folder=cwd)
    if check:
        assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path) -> Path:
    """A folder with a finished tiny run in its store."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(tiny_store, folder / "store")
    config = write_experiment(folder)
    done = w2s("run", config, store=folder / "store", cwd=folder)
    assert "M_plus" in done.stdout
    return folder


def test_a_second_run_answers_from_the_store(lab: Path) -> None:
    done = w2s("run", lab / "tiny.yaml", store=lab / "store", cwd=lab)
    assert "done: 0 computed" in done.stderr
    saved = lab / "out"
    assert list(saved.rglob("*.md"))
    assert list(saved.rglob("*.csv"))
    assert list(saved.rglob("*.png"))


@pytest.mark.slow
def test_variables_of_a_launcher_in_the_shell_change_nothing(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Job scripts of clusters set them; a training in one process would wait for the others that they speak of."""
    shutil.copytree(lab / "store", tmp_path / "store")
    for name, value in (
        ("WORLD_SIZE", "2"),
        ("RANK", "0"),
        ("LOCAL_RANK", "0"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", "29531"),
    ):
        monkeypatch.setenv(name, value)
    w2s("run", lab / "tiny.yaml", "stage2.dpo.beta=0.2", store=tmp_path / "store", cwd=tmp_path)


@pytest.mark.slow
def test_two_workers_give_the_same_bytes_as_one(lab: Path, tmp_path: Path) -> None:
    w2s("run", lab / "tiny.yaml", "--workers", 2, store=tmp_path / "store", cwd=tmp_path)
    for manifest in (tmp_path / "store" / "objects").rglob("manifest.json"):
        twin = lab / "store" / manifest.relative_to(tmp_path / "store")
        one, two = (json.loads(path.read_text()) for path in (manifest, twin))
        differing = {name for name in one["files"] if one["files"][name] != two["files"][name]}
        assert not differing, (one["spec"]["step"], differing)


def test_plan_runs_show_explain(lab: Path) -> None:
    store = lab / "store"
    plan = w2s("plan", lab / "tiny.yaml", store=store, cwd=lab).stdout
    assert "missing" not in plan
    assert "sft:hybrid_ft_1" in plan
    changed = w2s("plan", lab / "tiny.yaml", "stage2.keep=0.3", store=store, cwd=lab).stdout
    assert "prefer:dpo" in changed
    assert "missing" in changed
    listed = w2s("runs", store=store, cwd=lab).stdout
    assert "complete" in listed
    shown = w2s("show", "tiny", store=store, cwd=lab).stdout
    assert "stage1.iterations = 1" in shown
    assert "strong ceiling" in shown.lower()
    explained = w2s("explain", "tiny", "pairs", store=store, cwd=lab).stdout
    assert "parameter" in explained
    mistake = w2s("explain", "tiny", "sft:hybrid", store=store, cwd=lab, check=False)
    assert mistake.returncode == 2
    assert "sft:hybrid_ft_1" in mistake.stderr


def test_verify_finds_damage_and_the_next_run_mends_it(lab: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(lab / "store", store)
    assert json.loads(w2s("verify", store=store, cwd=lab).stdout)["problems"] == 0
    victim = next((store / "objects").rglob("grades.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    broken = w2s("verify", store=store, cwd=lab, check=False)
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["problems"] == 1
    assert f"delete its folder under {store / 'objects'}" in broken.stderr
    again = w2s("run", lab / "tiny.yaml", store=store, cwd=tmp_path)
    assert "damaged" in again.stderr
    assert "done: 1 computed" in again.stderr
    assert json.loads(w2s("verify", store=store, cwd=lab).stdout)["problems"] == 0
    assert list((store / "quarantine").iterdir())


def test_gc_removes_what_no_run_points_at(lab: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(lab / "store", store)
    assert json.loads(w2s("gc", store=store, cwd=lab).stdout)["objects"] == 0
    next((store / "refs").glob("*.json")).unlink()
    dry = json.loads(w2s("gc", "--dry-run", store=store, cwd=lab).stdout)
    assert dry["objects"] > 20
    assert json.loads(w2s("gc", store=store, cwd=lab).stdout)["objects"] == dry["objects"]
    assert not list((store / "objects").rglob("manifest.json"))


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    store = tmp_path / "store"
    command = [sys.executable, "-m", "w2s_core.cli", "--store", str(store), "run", str(config)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((store / "objects").rglob("manifest.json"))) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list((store / "objects").rglob("manifest.json")))
    assert finished >= 8
    done = w2s("run", config, store=store, cwd=tmp_path)
    computed = int(done.stderr.split("done: ")[1].split(" computed")[0])
    planned = w2s("plan", config, store=store, cwd=tmp_path).stdout
    total = int(planned.rsplit(" steps:", 1)[0].rsplit(None, 1)[-1])
    assert computed == total - finished, "nothing finished is computed again"


def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    command = [sys.executable, "-m", "w2s_core.cli", "--store", str(tmp_path / "s"), "run", str(config)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    # Under objects/ alone: folders of unfinished work vanish while they are listed.
    while not list((tmp_path / "s" / "objects").rglob("manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # CPython ends by the signal itself where it hit code that a library runs from a string; a shell says 130 for both.
    assert process.returncode in (130, -signal.SIGINT), errors[-3000:]
    assert "interrupted; the same command goes on where it stopped" in errors
    assert "Traceback" not in errors


def test_an_empty_selection_stops_its_branch_and_says_so(tmp_path: Path) -> None:
    config = write_experiment(
        tmp_path, stage1={"iterations": 1, "samples": 2, "consistency": 1.0}, max_new_tokens=2
    )
    done = w2s("run", config, store=tmp_path / "store", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "demonstrate: 2 demonstrations wanted, only 0 responses have an answer" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("w2s: incomplete: demonstrate: 2 demonstrations wanted, only 0 responses")
    assert "steps could not run for that reason: " in last
    table = done.stdout[: done.stdout.index("saved:")]
    assert table.count("missing") <= 6, "rows without a number stand together"
    assert "strong ceiling" in done.stdout.lower(), "the other branches are computed and shown"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "absent.yaml"], "absent.yaml: cannot read an experiment"),
        (["run", "tiny.yaml", "stage1.consistancy=0.5"], "did you mean 'consistency'"),
        (["run", "tiny.yaml", "stage1.consistency=1.5"], "less than or equal to 1"),
        (["run", "tiny.yaml", "task.name=minni"], "did you mean 'mini'"),
        (["run", "tiny.yaml", "task.options.levels=[0]"], "levels"),
        (["run", "tiny.yaml", "weak=./nowhere"], "no such model folder"),
        (["run", "tiny.yaml", "weak=org/model"], "org/model@commit"),
        (["show", "nothing"], "no run is named 'nothing'"),
        (["explain", "nothing", "pairs"], "no run is named"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    write_experiment(tmp_path)
    done = w2s(*arguments, store=tmp_path / "store", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_folder_without_tokenizer_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(BASES / "llama", tmp_path / "bare")
    (tmp_path / "bare" / "tokenizer.json").unlink()
    write_experiment(tmp_path)
    done = w2s("run", "tiny.yaml", "weak=./bare", store=tmp_path / "s", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "no tokenizer" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_is_mirrored_to_the_trackers_offline(lab: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(lab / "store", store)
    done = w2s("run", lab / "tiny.yaml", "--wandb", "--trackio", store=store, cwd=tmp_path)
    assert "done: 0 computed" in done.stderr
    assert list((store / "trackers").rglob("*.wandb"))
    assert list((store / "trackers").rglob("*.db"))


def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "/disk/first.json")

    monkeypatch.setattr(sys, "argv", ["w2s", "--store", str(tmp_path / "s"), "runs"])
    monkeypatch.setattr(Refs, "contents", refuse)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("w2s: /disk/first.json: Input/output error; nothing that was finished is lost")
    assert err.count("\n") == 1
