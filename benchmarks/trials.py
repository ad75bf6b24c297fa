"""The plan of a study of 10,000 trials, side by side with another build: processor time, wall time and memory.

python benchmarks/trials.py [OLD] [--pairs N]
                       OLD is a folder with that build's tree, or a commit

`w2s sweep --dry-run` of a grid over two thresholds, and of a corner of it, which is what starting costs. No trial is
computed, and the store is empty. The builds take turns to go first.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.planning import tree_of  # noqa: E402
from benchmarks.store import COLUMNS, Cost, compare, line  # noqa: E402
from w2s_core.engine.processor import processor_name  # noqa: E402

LENGTHS = (2, 100)
"""Values of each of the two thresholds."""


def write_study(folder: Path, length: int) -> Path:
    """A grid of `length` consistencies and as many shares of pairs, with one seed and DPO."""
    values = [round((number + 0.5) / length, 4) for number in range(length)]
    fields = {
        "name": f"trials-{length}",
        "base": str(ROOT / "experiments/mini/paper.yaml"),
        "space": {"stage1.consistency": values, "stage2.keep": values},
        "fixed": {"stage2.methods": ["dpo"]},
        "sampler": {"name": "grid"},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "seeds": [0],
        "test": "none",
    }
    path = folder / f"{length}.yaml"
    path.write_text(json.dumps(fields))
    return path


def ratios(old: list[Cost | None], new: list[Cost | None]) -> str:
    """Of each pair, the new build's processor time by the old one's."""
    pairs = sorted(after.cpu / before.cpu for before, after in zip(old, new, strict=True) if before and after)
    return " ".join(f"{ratio:.2f}" for ratio in pairs)


def main() -> None:
    """Measure, print, and keep the output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("old", nargs="?", default="1b95f0f", help="a folder, or a commit")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        trees = tree_of(options.old, place), ROOT
        lines = [
            f"old: {options.old}; load {os.getloadavg()[0]:.1f} at the start",
            f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}; {options.pairs} pairs,",
            "of which the medians are told. memory: the most that the process held",
            COLUMNS,
        ]
        print("\n".join(lines))
        for length in LENGTHS:
            study = write_study(place, length)
            at = ("--store", str(place / "store"), "sweep", str(study), "--dry-run")
            costs = compare(trees, options.pairs, *at)
            for row in (
                line(f"{length**2:,} trials", *costs),
                f"  new / old CPU of each pair: {ratios(*costs)}",
            ):
                print(row, flush=True)
                lines.append(row)
        (ROOT / "benchmarks/trials.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
