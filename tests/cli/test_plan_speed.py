"""What a plan expects of a store that knows nothing: from a short measurement of this machine, kept for later plans."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.tiny import BASES, write_experiment
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
    assert seconds(first, "sft:ceiling") == pytest.approx(
        7 * 4 * tokens(experiment, "train_2") / 100, abs=0.6
    )


def seconds(plan: str, label: str) -> float:
    (line,) = [line for line in plan.splitlines() if line.startswith(f"{label} ")]
    return float(line.split("missing")[1].split()[0])


def tokens(experiment: Any, split: str, prompt: str = "Question: {}\nAnswer:") -> float:
    """Of a prompt with its gold solution in the mean, four characters each, and the two that open and close it."""
    problems = build_graph(experiment, "cpu").splits.problems[split]
    texts = [prompt.format(p.question) + p.solution for p in problems]
    return 2 + sum(map(len, texts)) / len(texts) / 4


def test_rows_are_as_long_as_the_experiments_prompt_and_what_it_shows(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: speed.Speed(train=100.0, sample=50.0, characters=4.0))
    user = "Here is a question that you should answer step by step: {question}\nAnswer:"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prompt": {"user": user}}))
    own = tokens(load_experiment(config), "train_2", user.replace("{question}", "{}"))
    assert seconds(planned(config, "--measure"), "sft:ceiling") == pytest.approx(7 * 4 * own / 100, abs=0.6)
    tuning = {"learning_rate": 3e-3, "max_steps": 7, "batch_size": 4}
    options = {"pretrain": 48, "dev": 4, "levels": [1, 2]}
    warm_up = {"recipe": "warm_up", "name": "warm", "model": str(BASES / "strong"), "sft": tuning}
    shown = {"shown": 3, "share": 0.5, "task": {"name": "mini", "options": options}}
    config.write_text(json.dumps(warm_up | shown | {"evaluation": {"splits": ["dev"]}}))
    mean = tokens(load_experiment(config), "pretrain") * 2.5
    assert seconds(planned(config, "--measure"), "sft:warmed") == pytest.approx(7 * 4 * mean / 100, abs=0.6)


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
