"""The lock, the licences and the bill of materials speak of what constraints.txt pins; an audit says what it knows."""

import json
import re
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
SPEC = spec_from_file_location("locked", ROOT / "requirements" / "locked.py")
assert SPEC is not None
assert SPEC.loader is not None
locked = module_from_spec(SPEC)
SPEC.loader.exec_module(locked)


def pinned() -> dict[str, str]:
    """The pins, by names as indexes compare them."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}


def test_the_lock_holds_every_pin_but_torch_with_a_hash() -> None:
    lines = [line for line in locked.LOCK.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    versions = dict(line.split(" ")[0].split("==") for line in lines)
    assert versions == {name: version for name, version in pinned().items() if name != "torch"}


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *extras["dev"],
        *extras["gguf"],
        *extras["qlora"],
        *extras["postgres"],
        *extras["ray"],
        *extras["docs"],
    ]
    pins = pinned()
    for requirement in map(Requirement, asked):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(pins[name]), requirement


def test_licences_and_bill_of_materials_are_of_the_pins() -> None:
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "requirements/licences.md").read_text(), re.M
    )
    names = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version, _ in rows if name != "package"}
    assert names == pinned()
    bill = json.loads((ROOT / "requirements/bill.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    parts = {re.sub(r"[-_.]+", "-", part["name"]).lower(): part["version"] for part in bill["components"]}
    assert parts == locked.locked()


def test_a_line_of_the_lock_is_what_pip_would_install() -> None:
    entry = {
        "metadata": {"name": "Ruamel.YAML", "version": "1.0"},
        "download_info": {"url": "file:///x", "archive_info": {"hashes": {"sha256": "ab" * 32}}},
    }
    text = locked.lock_of({"install": [entry]})
    assert text == f"{locked.HEAD}ruamel-yaml==1.0 --hash=sha256:{'ab' * 32}\n"


PROBLEM = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
CLEAN = {"name": "b", "version": "1", "vulns": []}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("entries", "status", "text"),
    [
        ([CLEAN], 0, ""),
        ([CLEAN, PROBLEM], 1, "a 1: PYSEC-1; fixed in 2\n"),
        ([CLEAN, SKIPPED], 3, "audit: 1 of 2 packages could not be looked up, so nothing is known of them\n"),
        (
            [PROBLEM, SKIPPED],
            1,
            "a 1: PYSEC-1; fixed in 2\naudit: 1 of 2 packages could not be looked up, so nothing is known of them\n",
        ),
    ],
)
def test_an_audit_that_could_not_look_is_no_clean_one(
    entries: list[dict[str, Any]], status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert locked.judge({"dependencies": entries}) == status
    assert capsys.readouterr().out == text


def test_an_audit_that_fails_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'requests: no route to host' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(locked.sys, "executable", str(tmp_path / "python"))
    assert locked.audit() == 3
    assert (
        capsys.readouterr().out
        == "audit: pip-audit failed, so nothing is known: requests: no route to host\n"
    )
