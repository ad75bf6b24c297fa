"""What is installed, for who must trust it: a lock with hashes, licences, a bill of materials, known vulnerabilities.

python requirements/locked.py lock       write lock.txt from constraints.txt: the sha256 of what the package index has
                                         for this kind of machine (Linux, x86-64, Python 3.11)
python requirements/locked.py licences   write licences.md from the metadata of what is installed
python requirements/locked.py bill       write bill.json, CycloneDX, from lock.txt
python requirements/locked.py audit      ask for known vulnerabilities of what is locked; ends with 1 where there are
                                         some, with 3 where that cannot be known

torch is left out of the lock: which build is right depends on the machine (CUDA, ROCm, none), they share one version
number, and each index has its own files. `make bill` and `make audit` run in an environment of their own.
"""

import importlib.metadata as metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOCK, CONSTRAINTS = HERE / "lock.txt", HERE.parent / "constraints.txt"
LEFT_OUT = ("torch",)
HEAD = """\
# Written by `make lock` from constraints.txt, for Linux on x86-64 with Python 3.11. torch is left out: its builds for
# CPU and GPUs are different files of one version. Use: pip install --require-hashes --no-deps -r requirements/lock.txt
"""
UNKNOWN = 3
LICENCE_WIDTH = 60


def pins() -> dict[str, str]:
    """The version of each package in constraints.txt."""
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def locked() -> dict[str, str]:
    """The version of each package in the lock."""
    return dict(re.findall(r"^(\S+)==(\S+) ", LOCK.read_text(), re.MULTILINE))


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock() -> None:
    """Let pip choose the file of each pinned package from the index alone, and write down its hash."""
    wanted = [f"{name}=={version}" for name, version in pins().items() if name not in LEFT_OUT]
    # Files that lie on this machine or in a mirror may be rebuilt ones, whose hashes no one else can check.
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            "install",
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
            "--quiet",
            "--report",
            str(report),
        ]
        subprocess.run(
            [sys.executable, "-m", "pip", *command, *wanted],
            check=True,
            env=plain | {"PIP_CONFIG_FILE": os.devnull},
        )
        LOCK.write_text(lock_of(json.loads(report.read_text())))


def lock_of(report: dict[str, Any]) -> str:
    """The text of the lock, from what pip reports that it would install."""
    lines = {}
    for entry in report["install"]:
        name, version = normal(entry["metadata"]["name"]), entry["metadata"]["version"]
        lines[name] = (
            f"{name}=={version} --hash=sha256:{entry['download_info']['archive_info']['hashes']['sha256']}\n"
        )
    return HEAD + "".join(line for _, line in sorted(lines.items()))


def licences() -> None:
    """A table of what each pinned package says of its licence."""
    rows = [f"| {name} | {version} | {licence_of(name)} |\n" for name, version in pins().items()]
    head = "Written by `make licences` from the packages' own metadata.\n\n| package | version | licence |\n|-|-|-|\n"
    (HERE / "licences.md").write_text(head + "".join(rows))


def licence_of(name: str) -> str:
    """The licence's expression, else its classifiers, else the first line of its text."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed here, since only an extra asks for it"
    classifiers = [
        entry.rpartition(" :: ")[2]
        for entry in about.get_all("Classifier") or ()
        if entry.startswith("License ::")
    ]
    text = about.get("License-Expression") or ", ".join(classifiers) or about.get("License") or "not stated"
    first = next(filter(None, map(str.strip, text.splitlines())), "not stated")
    return first.replace("|", "/")[:LICENCE_WIDTH]


def bill() -> None:
    """A bill of materials, checked against CycloneDX's schema by the program that writes it."""
    options = ["--output-reproducible", "--short-PURLs", "--validate", "--of", "JSON"]
    subprocess.run(
        [
            Path(sys.executable).with_name("cyclonedx-py"),
            "requirements",
            *options,
            "-o",
            HERE / "bill.json",
            LOCK,
        ],
        check=True,
    )


def audit() -> int:
    """Print the known vulnerabilities of what is locked. Returns the exit status."""
    options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "-r", str(LOCK)]
    process = subprocess.run(
        [Path(sys.executable).with_name("pip-audit"), *options],
        check=False,  # its status tells vulnerabilities and failures apart no better than what it prints
        capture_output=True,
        text=True,
    )
    if not process.stdout.startswith("{"):
        reason = (process.stderr.strip().splitlines() or ["it says nothing"])[-1]
        sys.stdout.write(f"audit: pip-audit failed, so nothing is known: {reason[:200]}\n")
        return UNKNOWN
    return judge(json.loads(process.stdout))


def judge(report: dict[str, Any]) -> int:
    """Print what an audit's report says. A package that could not be looked up is no package without a problem."""
    problems = list(_problems(report))
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    skipped = sum("skip_reason" in entry for entry in report["dependencies"])
    if skipped:
        total = len(report["dependencies"])
        sys.stdout.write(
            f"audit: {skipped} of {total} packages could not be looked up, so nothing is known of them\n"
        )
    return 1 if problems else UNKNOWN if skipped else 0


def _problems(report: dict[str, Any]) -> Iterator[str]:
    for entry in report["dependencies"]:
        for problem in entry.get("vulns", ()):
            fixed = f"; fixed in {', '.join(problem['fix_versions'])}" if problem["fix_versions"] else ""
            yield f"{entry['name']} {entry['version']}: {problem['id']}{fixed}"


if __name__ == "__main__":
    sys.exit({"lock": lock, "licences": licences, "bill": bill, "audit": audit}[sys.argv[1]]())
