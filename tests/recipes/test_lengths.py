"""Trainings of several lengths through the whole house: graph, scheduler, store, steps, explain."""

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_experiment
from w2s_core.engine import Handle, Store, run_graph
from w2s_core.engine.explain import explain
from w2s_core.experiment import load_experiment
from w2s_core.runs import Machine, build_graph

LENGTHS = (24, 12)


def weak_models(folder: Path, *fields: str) -> tuple[dict[str, Handle], dict[str, str]]:
    """The weak model of each length, the longest first, and where its base lies."""
    path = write_experiment(folder)
    handles, bases = {}, {}
    for steps in LENGTHS:
        overrides = (f"weak_sft.max_steps={steps}", "weak_sft.scheduler=constant", *fields)
        graph = build_graph(load_experiment(path, overrides), "cpu")
        sample = graph.targets["greedy/test/weak_floor"].inputs["responses"]
        handles[f"{steps}: weak"] = sample.inputs["model"]
        bases |= graph.bases
    return handles, bases


def files(store: Store, handle: Handle) -> Any:
    return store.manifest(handle.key)["files"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_chain_gives_what_straight_trainings_give(tmp_path: Path, workers: int) -> None:
    targets, bases = weak_models(tmp_path, "weak_sft.warmup_steps=3")
    long, short = targets.values()
    chain, straight = Store(tmp_path / "chain"), Store(tmp_path / "straight")
    runtime = {"bases": bases, **Machine(workers=workers, device="cpu").runtime}
    assert run_graph(targets, chain, workers=workers, runtime=runtime).complete
    assert run_graph({"long": long}, straight, runtime=runtime).complete
    assert files(chain, long) == files(straight, long)
    manifest: Any = chain.manifest(long.key)
    assert manifest["reused"]["extends"] == {short.key: "from 12 to 24 steps"}
    assert manifest["reused"]["saved_s"] > 0
    assert manifest["summary"]["threads"] == 1
    assert f"extends {short.key[:12]} from 12 to 24 steps" in str(explain(long, chain))
    assert "extends" not in str(explain(long, straight))
    assert list(chain.verify()) == []


def test_fields_that_nobody_gives_stand_in_no_key(tmp_path: Path) -> None:
    """Neither a plan's keys nor a record change where there is no warm-up in steps."""
    path = write_experiment(tmp_path)
    experiment: Any = load_experiment(path)
    assert "warmup_steps" not in experiment.training(experiment.sft)
    assert "warmup_steps" not in str(experiment.model_dump(mode="json"))
    given: Any = load_experiment(path, ("sft.warmup_steps=0",))
    assert given.training(given.sft)["warmup_steps"] == 0
    assert given.digest != experiment.digest
