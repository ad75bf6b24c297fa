"""What a plan expects of a store that knows nothing: from a short measurement of this machine, kept for later plans."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny import write_experiment
from w2s_core.cli import speed
from w2s_core.cli.main import w2s
from w2s_core.experiment import load_experiment
from w2s_core.models import base_ref
from w2s_core.runs import build_graph

TASK = {"name": "mini", "options": {"train_1": 32, "train_2": 48, "dev": 4, "test": 6, "levels": [1, 2]}}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tuning = {"learning_rate": 3e-3, "max_steps": 7, "batch_size": 4}
    return write_experiment(tmp_path, task=TASK, sft=tuning)


def planned(config: Path, *options: str) -> str:
    store = config.parent / "store"
    arguments = ["--store", str(store), "plan", str(config), "--device", "cpu", *options]
    return CliRunner().invoke(w2s, arguments, catch_exceptions=False).output


def test_without_a_measurement_a_plan_measures_nothing_and_says_how(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: pytest.fail("measured"))
    assert "`w2s plan CONFIG --measure` times this machine on the base models" in planned(config)


def test_a_measurement_is_made_once_for_each_base_and_then_used(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def measure(ref: str, *_: object) -> speed.Speed:
        calls.append(ref)
        return speed.Speed(train=100.0, sample=50.0, characters=4.0)

    monkeypatch.setattr(speed, "measure", measure)
    first = planned(config, "--measure")
    assert planned(config, "--measure") == planned(config) == first
    experiment = load_experiment(config)
    assert sorted(calls) == sorted(base_ref(folder) for folder in (experiment.weak, experiment.strong))
    assert "by a short measurement of this machine" in first
    # by hand: 7 steps of 4 rows of the mean length of train_2, four characters a token, 100 tokens a second
    problems = build_graph(experiment, "cpu").splits.problems["train_2"]
    characters = sum(len(p.question) + len(p.solution) for p in problems) / len(problems)
    expected = 7 * 4 * characters / 4 / 100
    (line,) = [line for line in first.splitlines() if line.startswith("sft:ceiling ")]
    assert float(line.split("missing")[1].split()[0]) == pytest.approx(expected, abs=0.6)


def test_a_damaged_measurement_counts_as_none(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: speed.Speed(100.0, 50.0, 4.0))
    planned(config, "--measure")
    for path in (config.parent / "cache" / "w2s" / "speed").iterdir():
        path.write_text(path.read_text().replace("100.0", "1.0"))
    assert "--measure` times this machine" in planned(config)


def test_the_measurement_itself_is_of_the_real_training_and_engine(config: Path) -> None:
    graph = build_graph(load_experiment(config), "cpu")
    ref = graph.models["weak"]
    taken = speed.measure(ref, graph.bases[ref], graph.splits.problems["train_1"][:4], "float32", "cpu")
    assert taken.train > 10
    assert taken.sample > 10
    assert 1 < taken.characters < 10
    assert json.dumps(vars(taken))
