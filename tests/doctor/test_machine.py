"""`w2s doctor` without an experiment: what this machine has."""

import importlib.metadata
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub.utils._http import httpx2

from tests.doctor.conftest import Answer, Type, down, silent
from w2s_core.doctor import machine as checks
from w2s_core.doctor.checks import render
from w2s_core.doctor.machine import Check


def line(output: str, topic: str) -> str:
    """The one line about something."""
    (match,) = [text for text in output.splitlines() if f"  {topic}  " in text]
    return match


def test_every_line_has_a_status_and_the_columns_are_aligned(w2s_doctor: Type) -> None:
    done = w2s_doctor()
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) > 10
    assert {text.split()[0] for text in lines} <= {"ok", "missing", "unknown"}
    width = max(len(check.topic) for check in checks.machine_checks(Path("store")))
    assert all(text[9 + width : 11 + width] == "  " and text[11 + width] != " " for text in lines)


def test_it_takes_less_than_three_seconds_and_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom w2s_core.doctor.command import doctor\n"
        "doctor.main([], obj=None, standalone_mode=False)\nprint('torch' in sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: what else the machine does is no matter.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
    if not any(Path(driver).exists() for driver in checks.GPU_DRIVERS):
        assert done.stdout.splitlines()[-1] == "False"


def test_a_hub_that_says_nothing_is_waited_for_no_longer_than_said(
    w2s_doctor: Type, hub: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checks.HUB_TIMEOUT_S <= 3
    monkeypatch.setattr(checks, "HUB_TIMEOUT_S", 0.5)
    hub(silent)
    start = time.monotonic()
    done = w2s_doctor()
    assert time.monotonic() - start < 1
    assert done.exit_code == 0
    assert "no answer in 0.5 s" in line(done.stdout, "hub")


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (lambda request: httpx2.Response(200), "ok", "answers"),
        (lambda request: httpx2.Response(403), "ok", "answers"),
        (lambda request: httpx2.Response(503), "unknown", "says 503"),
        (down, "unknown", "Name or service not known"),
    ],
)
def test_what_the_hub_says(w2s_doctor: Type, hub: Answer, answer: Answer, status: str, message: str) -> None:
    hub(answer)
    done = w2s_doctor()
    assert line(done.stdout, "hub").startswith(status)
    assert message in line(done.stdout, "hub")


def test_an_offline_hub_is_not_asked(w2s_doctor: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_ask_hub", lambda: pytest.fail("asked"))
    assert "HF_HUB_OFFLINE is set" in line(w2s_doctor().stdout, "hub")


def test_logins_are_found_and_never_shown(
    w2s_doctor: Type, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = w2s_doctor().stdout
    assert line(done, "W&B").startswith("missing")
    assert line(done, "hub token").startswith("missing")
    key = "a" * 8 + "5ecret" + "b" * 26
    (nobody / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {key}\n")
    (nobody / "token").write_text("hf_5ecret")
    done = w2s_doctor().stdout
    assert line(done, "W&B").startswith("ok")
    assert line(done, "hub token").startswith("ok")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    done += w2s_doctor().stdout
    assert line(w2s_doctor().stdout, "W&B").startswith("missing")
    monkeypatch.setenv("WANDB_API_KEY", key)
    done += w2s_doctor().stdout
    assert "WANDB_API_KEY" in line(w2s_doctor().stdout, "W&B")
    assert "5ecret" not in done


def test_a_broken_netrc_is_one_line(w2s_doctor: Type, nobody: Path) -> None:
    for content in (b"machine\n", b"password x", b"\xff\xfe\x00"):
        (nobody / ".netrc").write_bytes(content)
        assert line(w2s_doctor().stdout, "W&B").startswith(("unknown", "missing"))


def test_an_offline_mode_of_wandb_is_no_fault(w2s_doctor: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert line(w2s_doctor().stdout, "W&B").startswith("ok")


def test_a_library_that_is_too_old_or_not_there_comes_with_its_command(
    w2s_doctor: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0.0" if name == "torch" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    done = w2s_doctor().stdout
    assert line(done, "torch").startswith("missing")
    assert "1.0.0, needs" in line(done, "torch")
    assert "-> pip install 'torch" in line(done, "torch")
    assert "not installed" in line(done, "peft")
    good, total = line(done, "libraries").split()[2:5:2]
    assert int(good) == int(total) - 2


@pytest.mark.parametrize(
    ("version", "status"),
    [("3.11.0", "ok"), ("3.11.14", "ok"), ("3.14.2", "ok"), ("3.10.9", "missing"), ("3.15.0", "missing")],
)
def test_python_has_to_be_the_one_that_was_tested(version: str, status: str) -> None:
    assert checks.python_check(version).status == status


def test_versions_of_local_builds_are_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "2.13.0+cu130" if name == "torch" else real(name)
    )
    assert {check.status for check in checks.library_checks() if check.topic == "torch"} == {"ok"}


def test_little_disk_is_worth_a_word(w2s_doctor: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_disk", lambda folder: 10**9)
    assert line(w2s_doctor().stdout, "disk, store").startswith("unknown")
    assert "-> w2s gc" in line(w2s_doctor().stdout, "disk, store")
    monkeypatch.setattr(checks, "free_disk", lambda folder: None)
    assert "cannot be looked at" in line(w2s_doctor().stdout, "disk, store")


def test_free_memory_and_disk_are_those_of_the_system(tmp_path: Path) -> None:
    import os

    import psutil

    assert abs(checks.free_memory() - psutil.virtual_memory().available) < 0.2 * psutil.virtual_memory().total
    assert checks.free_memory() <= psutil.virtual_memory().total
    assert checks.cores() == len(psutil.Process().cpu_affinity())
    stat = os.statvfs(tmp_path)
    free = checks.free_disk(tmp_path / "not" / "there" / "yet")
    assert free is not None
    assert abs(free - stat.f_bavail * stat.f_frsize) < 0.1 * free


def test_a_detail_of_many_lines_stays_one_line() -> None:
    listed = render(
        [Check("unknown", "hub", "one\ntwo\r\nthree"), Check("ok", "a longer name", "fine", "do it")]
    )
    assert listed.splitlines() == [
        "unknown  hub            one two  three",
        "ok       a longer name  fine  -> do it",
    ]


def test_no_name_moves_the_cursor_of_a_terminal() -> None:
    listed = render([Check("missing", "weak", "\x1b[2J\x1b]0;title\x07 \u202eevil\x00", "do \x9b31m it")])
    assert listed.isprintable()
