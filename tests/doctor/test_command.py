"""`w2s doctor CONFIG`: whether an experiment can run here, and what to type where it cannot."""

import importlib.metadata
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.doctor.conftest import Type, missing
from tests.doctor.test_machine import line
from tests.sweeps import plain_recipe as plain_recipe  # registers the recipe
from tests.tiny import BASES, REPOSITORY, write_experiment, write_plain
from w2s_core.doctor import checks as doctor_checks
from w2s_core.doctor import fit as doctor_memory
from w2s_core.doctor import memory
from w2s_core.doctor.machine import Device
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment


def test_the_shipped_experiment_can_run(w2s_doctor: Type) -> None:
    done = w2s_doctor(REPOSITORY / "experiments" / "mini" / "paper.yaml")
    assert done.exit_code == 0, done.stdout
    assert not missing(done)
    assert "train_1 1,000, train_2 1,000, test 500" in line(done.stdout, "data")
    assert "458 k parameters" in line(done.stdout, "weak")
    assert "EOS <eos> (0)" in line(done.stdout, "strong tokenizer")
    for what in ("weak sft", "weak sampling", "strong sft", "strong dpo", "strong orpo", "strong sampling"):
        assert line(done.stdout, what).startswith("ok")


def test_what_a_run_takes_doctor_takes(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, "stage2.methods=[dpo]", "max_new_tokens=40", "--device", "cpu", "--workers", 2)
    assert done.exit_code == 0
    assert "strong orpo" not in done.stdout
    assert "2 workers, 256 responses of 40 tokens" in line(done.stdout, "strong sampling")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stage1.consistncy=1"], "did you mean 'consistency'"),
        (["weak=3"], "weak"),
        (["nonsense"], "write field=value"),
    ],
)
def test_a_mistake_in_the_experiment_is_the_one_line_that_run_prints(
    w2s_doctor: Type, tiny: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        w2s_doctor(tiny, *words)
    assert "\n" not in str(caught.value)


def test_data_without_an_experiment_is_refused(w2s_doctor: Type, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name its file"):
        w2s_doctor("--data", tmp_path)


# Data


def test_data_of_a_hub_is_looked_for_in_its_cache(w2s_doctor: Type, tiny: Path, tmp_path: Path) -> None:
    task = {"name": "gsm8k", "options": {"revision": "0123456789abcdef"}}
    config = write_experiment(tmp_path, task=task)
    done = w2s_doctor(config)
    assert "openai/gsm8k@0123456789ab not in the cache" in line(done.stdout, "data")
    assert done.exit_code == 0
    kept = Path(constants.HF_HUB_CACHE) / "datasets--openai--gsm8k" / "snapshots" / "0123456789abcdef"
    kept.mkdir(parents=True)
    assert line(w2s_doctor(config).stdout, "data").startswith("ok")


def test_data_of_files(w2s_doctor: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    config = write_experiment(tmp_path, task={"name": "gsm8k", "options": {"data": str(folder)}})
    done = w2s_doctor(config)
    assert done.exit_code == 1
    assert "there is no such folder" in line(done.stdout, "data")
    folder.mkdir()
    done = w2s_doctor(config)
    assert "no train_1.jsonl" in line(done.stdout, "data")
    for number, split in enumerate(("train_1", "train_2", "test")):  # in words that the shipped bases know
        row = {"question": f"Jack had {number} books. How many books?", "answer": f"{number}\n#### {number}"}
        (folder / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "gone.jsonl").symlink_to(folder / "nowhere")
    done = w2s_doctor(config)
    assert done.exit_code == 0, done.stdout
    assert "train_1 1, train_2 1, test 1" in line(done.stdout, "data")
    moved = folder.rename(tmp_path / "moved")
    (moved / "test.jsonl").write_text("{")
    assert "test.jsonl, line 1" in line(w2s_doctor(config, "--data", moved).stdout, "data")
    moved.rename(folder)
    monkeypatch.setattr("w2s_core.doctor.machine.READ_AT_ONCE", 1)
    assert "not read here" in line(w2s_doctor(config).stdout, "data")


def test_an_unknown_task_or_option_is_refused_as_any_unknown_field(w2s_doctor: Type, tmp_path: Path) -> None:
    for task in ({"name": "gsm9k"}, {"name": "mini", "options": {"trian_1": 3}}):
        with pytest.raises(UserError, match=r"yaml:\d+: field 'task\..*did you mean"):
            w2s_doctor(write_experiment(tmp_path, task=task))


# Memory and disk


def on(monkeypatch: pytest.MonkeyPatch, device: Device | None) -> None:
    monkeypatch.setattr(doctor_checks, "find_device", lambda wanted: device)


def test_a_smaller_micro_batch_is_named_and_then_fits(
    w2s_doctor: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_experiment(tmp_path, sft={"learning_rate": 1e-3, "max_steps": 2, "batch_size": 64})
    on(monkeypatch, Device("cpu", "1 core", 900_000_000))
    done = w2s_doctor(config)
    assert done.exit_code == 0
    check = line(done.stdout, "strong sft")
    assert check.startswith("unknown")
    command, number = check.split(" -> ")[1].split()
    assert 1 < int(number) < 64
    assert line(w2s_doctor(config, command, number).stdout, "strong sft").startswith("ok")
    assert line(w2s_doctor(config, command, int(number) * 2).stdout, "strong sft").startswith("unknown")


@pytest.mark.parametrize("batch", [1, 7, 12, 36, 97])
def test_a_batch_is_parted_into_equal_parts(batch: int) -> None:
    assert doctor_memory._divisors(batch) == [rows for rows in range(1, batch + 1) if batch % rows == 0]


def test_a_model_that_does_not_fit_at_all_is_missing_memory(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Device("cpu", "1 core", 500_000_000))
    done = w2s_doctor(tiny)
    assert done.exit_code == 1
    check = line(done.stdout, "strong dpo")
    assert "one row: up to" in check
    total = float(check.split("up to ")[1].split(" MB")[0])
    parts = [float(part.split()[-2]) for part in check.split("(")[1].split(")")[0].split(", ")]
    assert 0.9 * total < sum(parts) < 1.05 * total  # parts under a hundredth are not listed


def test_more_workers_take_more_memory(w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Device("cpu", "8 cores", 3_000_000_000))
    assert w2s_doctor(tiny).exit_code == 0
    assert w2s_doctor(tiny, "--workers", 8).exit_code == 1


def test_a_gpu_holds_half_precision_and_draws_as_many_as_fit(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Device("cuda", "a small GPU", 60_000_000))
    check = line(w2s_doctor(tiny).stdout, "strong sampling")
    assert check.startswith("ok")
    drawn = int(check.split("responses")[0].split()[-1])
    assert drawn in {2**n for n in range(8)}
    on(monkeypatch, Device("cuda", "a large GPU", 80_000_000_000))
    assert "256 responses" in line(w2s_doctor(tiny).stdout, "strong sampling")
    assert "process" not in line(w2s_doctor(tiny).stdout, "strong sft")


def test_a_gpu_that_is_asked_for_and_not_here(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, None)
    done = w2s_doctor(tiny, "--device", "cuda")
    assert done.exit_code == 1
    assert "sees no GPU" in line(done.stdout, "device")


def test_a_micro_batch_that_does_not_divide_is_what_run_refuses_too(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, "--micro-batch", 3)
    assert done.exit_code == 1
    assert "does not divide the batch of 4 rows" in line(done.stdout, "strong sft")


def test_a_response_longer_than_the_context(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, "max_new_tokens=640")
    assert done.exit_code == 1
    assert "context of 640 tokens" in line(done.stdout, "weak sampling")


def test_ray_is_needed_only_where_it_is_asked_for(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("w2s_core.doctor.machine._version", lambda name: None if name == "ray" else "1.0")
    monkeypatch.setattr("w2s_core.doctor.machine.library_checks", lambda: iter(()))
    assert w2s_doctor(tiny).exit_code == 0
    done = w2s_doctor(tiny, "--executor", "ray")
    assert done.exit_code == 1
    assert line(done.stdout, "ray").startswith("missing")


def test_vllm_is_needed_only_where_it_is_asked_for(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def without(name: str) -> str:
        if name.startswith("vllm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    def with_vllm(name: str) -> str:
        return "0.9" if name == "vllm" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert w2s_doctor(tiny).exit_code == 0
    done = w2s_doctor(tiny, "engine=vllm")
    assert done.exit_code == 1
    assert line(done.stdout, "vllm").startswith("missing")
    monkeypatch.setattr(importlib.metadata, "version", with_vllm)
    assert w2s_doctor(tiny, "engine=vllm").exit_code == 0


def test_a_full_disk(w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "free_disk", lambda folder: 1_000_000)
    done = w2s_doctor(tiny)
    assert done.exit_code == 1
    assert line(done.stdout, "store").startswith("missing")


@pytest.mark.parametrize("changes", [(), ("controls=true", "stage1.iterations=3", "stage2.methods=[dpo]")])
def test_the_trainings_are_those_of_the_graph_that_runs(tiny: Path, changes: tuple[str, ...]) -> None:
    from w2s_core.engine.step import topological
    from w2s_core.runs import build_graph

    x = load_experiment(tiny, changes)
    steps = topological(build_graph(x).targets.values())
    trainings, samples = memory.planned(x)
    real = Counter(str(step.params.get("method", "sft")) for step in steps if step.name in ("sft", "prefer"))
    assert Counter(training.method for training in trainings) == real
    assert len(samples) == sum(step.name == "sample" for step in steps)
    assert [training.stored for training in trainings if training.method == "dpo"] == [
        (memory.Trained(32),) * 2
    ]
    assert [training.method for training in trainings if training.base == "weak"] == ["sft"]


@pytest.mark.slow
def test_the_store_of_a_run_is_no_larger_than_said(w2s_doctor: Type, tiny: Path, tmp_path: Path) -> None:
    from w2s_core import runs
    from w2s_core.engine import Store

    x = load_experiment(tiny)
    graph, root = runs.build_graph(x), tmp_path / "made"
    assert not runs.run_experiment(graph, Store(root), runs.Machine(), name="tiny", command=[]).failed
    real = sum(file.stat().st_size for file in root.rglob("adapter_model.safetensors"))
    trainings, _ = memory.planned(x)
    shapes = {
        side: memory.Shape.of(memory.read_config(BASES / name), name)
        for side, name in (("weak", "llama"), ("strong", "strong"))
    }
    estimate = sum(
        part.count(shapes[training.base], 0) * memory.FLOAT32
        for training in trainings
        for part in training.stored
    )
    assert estimate <= real < 1.1 * estimate  # the rest are headers


def test_no_line_tells_more_than_it_should(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "5ecret")
    monkeypatch.setenv("HF_TOKEN", "hf_5ecret")
    done: Any = w2s_doctor(tiny)
    assert "5ecret" not in done.output


# Other recipes


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """An experiment of a recipe that has one model, and none of the other recipe's fields."""
    sft = {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4, "lora_r": 4}
    return write_plain(tmp_path, sft=sft, evaluation={"samples": 3})


def test_a_recipe_of_the_users_own_is_checked_by_its_graph(w2s_doctor: Type, plain: Path) -> None:
    done = w2s_doctor(plain, "rounds=2")
    assert done.exit_code == 0, done.stdout
    assert "train_2 12, test 6" in line(done.stdout, "data")
    assert "train_1" not in done.stdout
    assert "458 k parameters" in line(done.stdout, "model")
    assert "256 responses of 48 tokens" in line(done.stdout, "model sampling")
    assert "4 rows of 49 tokens" in line(done.stdout, "model sft")
    assert "for 2 adapters" in line(done.stdout, "store")
    topics = done.stdout[done.stdout.index("  experiment  ") :]
    assert "weak" not in topics
    assert "strong" not in topics


def test_the_samplings_of_a_recipe_are_those_of_its_graph(plain: Path) -> None:
    trainings, samplings = memory.planned(load_experiment(plain, ("rounds=2", "shots=5")))
    assert [(training.base, training.method, training.stored) for training in trainings] == [
        ("model", "sft", (memory.Trained(4),))
    ] * 2
    few_shot = [sampling for sampling in samplings if sampling.shots]
    assert {sampling.shots for sampling in few_shot} == {5}
    assert Counter((sampling.split, sampling.responses) for sampling in few_shot) == {
        ("train_2", 1): 1,
        ("test", 1): 1,
        ("test", 3): 1,
    }
    zero_shot = Counter(sampling.split for sampling in samplings if not sampling.shots)
    assert zero_shot == {"train_2": 2, "test": 2}, "the first answers, those of round 1, and two evaluations"


def test_demonstrations_take_the_memory_of_what_the_recipe_shows(
    w2s_doctor: Type, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Device("cpu", "1 core", 10**12))

    def cache(shots: int) -> float:
        parts = line(w2s_doctor(plain, f"shots={shots}").stdout, "model sampling")
        return float(parts.split("KV cache ")[1].split(" ")[0])

    assert cache(400) > cache(4)


def test_a_recipe_that_gives_no_graph_is_a_line(
    w2s_doctor: Type, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: Any) -> None:
        raise UserError("rounds and shots do not go together")

    monkeypatch.setattr("w2s_core.recipes.recipe.Targets.all", refuses)
    done = w2s_doctor(plain)
    assert done.exit_code == 1
    assert "rounds and shots do not go together" in line(done.stdout, "recipe")
