"""What stands beneath tables: the command that computes what is missing can be typed as it stands."""

import shlex
from dataclasses import dataclass

import numpy as np
import pytest

from w2s_analysis.writing.notes import smallest_change, smallest_note, to_compute
from w2s_core.statistics import score


@dataclass
class Typed:
    """All that is asked of a group here."""

    commands: tuple[str, ...]


@pytest.mark.parametrize("store", [[], ["--store", "a b"], ["--store=.w2s"]])
def test_a_runs_command_with_other_fields_and_without_its_names(store: list[str]) -> None:
    typed = shlex.join(
        ["w2s", *store, "run", "x.yaml", "seed=1", "--name", "run", "--out", "out", "--workers", "2"]
    )
    command = to_compute([Typed(("python script.py", typed))], "stage2.keep=0.8")  # type: ignore[list-item]
    assert shlex.split(command) == [
        "w2s",
        *store,
        "run",
        "x.yaml",
        "seed=1",
        "--workers",
        "2",
        "stage2.keep=0.8",
    ]


def test_a_study_and_a_script_have_no_command_of_a_run() -> None:
    for command in ("w2s sweep run.yaml", "python run.py", ""):
        assert to_compute([Typed((command,))], "a=1") == ""  # type: ignore[list-item]


def test_answers_that_are_alike_promise_no_effect_that_could_be_found() -> None:
    assert smallest_note("A gain", [0.0, 0.0]) == smallest_note("A gain", []) == ""
    assert "about 3.0 points" in smallest_note("A gain", [0.0, 0.02, 0.04, float("nan")])


def test_the_distance_of_a_share_has_the_size_of_its_own_spread() -> None:
    estimate = score(np.array([[0.0, 1.0] * 50]), None)
    sentence = smallest_change("A share", [estimate, None])
    assert f"{100 * estimate.spread.detectable():.1f} points from a known number" in sentence
