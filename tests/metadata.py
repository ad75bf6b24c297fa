"""Metadata of packages in a folder that a test puts on the path, as if they were installed.

`w2s` finds commands and plug-ins by entry points. The tests take those of this tree's pyproject.toml, not those of
whatever is installed.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
EntryPoints = Mapping[str, Mapping[str, str]]


def declared() -> EntryPoints:
    """The entry points of this tree by group."""
    project: EntryPoints = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "entry-points"
    ]
    return project


def write_metadata(folder: Path, package: str, groups: EntryPoints) -> Path:
    """Declare a package in a folder; returns the folder."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return folder


def environment(*folders: Path) -> dict[str, str]:
    """The environment of a process that sees these folders first, then this tree."""
    path = os.pathsep.join(map(str, [*folders, REPOSITORY, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "W2S_IMPORT": "", "OMP_NUM_THREADS": "1"}
