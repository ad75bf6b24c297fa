"""Settings that an engine cannot take, or would replace, are refused when the graph is planned: no engine is needed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.recipes.recipe import Answerer, answer
from w2s_core.sampling import vllm_engine
from w2s_core.sampling.decoding import draw
from w2s_core.sampling.limits import LIMITS, adapter_rank, check_sampling
from w2s_core.steps import sft
from w2s_core.steps.data import base_model, gold, questions

SPLIT: dict[str, Any] = {"source": {}, "split": "train_2", "digest": "0"}


def refusal(folder: Path, *overrides: str, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(write_experiment(folder, **changes), overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "evaluation.temperature=2.5",
            "'evaluation.temperature' should be from 0.01 to 2 with engine 'vllm', which refuses it (given: 2.5)",
        ),
        (
            "stage2.temperature=0.005",
            "'stage2.temperature' should be from 0.01 to 2 with engine 'vllm', which samples at 0.01 instead",
        ),
        (
            "stage2.samples=16385",
            "'stage2.samples' should be at most 16384 with engine 'vllm' (given: 16385)",
        ),
        ("weak_sft.lora_r=513", "'weak_sft.lora_r' should be at most 512 with engine 'vllm' (given: 513)"),
    ],
)
def test_vllm(tmp_path: Path, override: str, complaint: str) -> None:
    text = refusal(tmp_path, override, engine="vllm")
    assert f"field {complaint}" in text
    assert "\n" not in text
    assert text.startswith(f"{tmp_path / 'tiny.yaml'} with override {override.partition('=')[0]}: ")
    assert load_experiment(write_experiment(tmp_path), (override,)), "the built-in engine takes it"


def test_the_line_of_the_field_is_named(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"engine": "vllm"}, indent=1))
    number = path.read_text().splitlines().index(' "evaluation": {') + 1
    text = path.read_text().replace('"evaluation": {', '"evaluation": {\n  "temperature": 3.0,')
    path.write_text(text)
    with pytest.raises(
        UserError, match=f"^{path}:{number + 1}: field 'evaluation.temperature' should be from"
    ):
        load_experiment(path)


@pytest.mark.parametrize("command", ["plan", "doctor", "run"])
def test_commands_refuse_before_anything_else(tmp_path: Path, command: str) -> None:
    """`doctor` and `plan` too, on machines without vLLM."""
    config = write_experiment(tmp_path, engine="vllm")
    arguments = [command, str(config), "evaluation.temperature=2.5"]
    result = CliRunner().invoke(w2s, arguments)
    assert result.exit_code != 0
    assert "'evaluation.temperature' should be from 0.01 to 2" in str(result.exception or result.output)


@pytest.mark.parametrize(
    "override", ["stage1.temperature=2.5", "evaluation={samples: 0, temperature: 9.5}", "stage2.temperature=0.01",
                 "stage2.temperature=2", "stage2.samples=16384"]
)  # fmt: skip
def test_a_temperature_that_nothing_uses_and_the_limits_themselves_pass(
    tmp_path: Path, override: str
) -> None:
    assert load_experiment(write_experiment(tmp_path, engine="vllm"), (override,))


@pytest.mark.parametrize("temperature", ["1e-40", "1e-31", "1e31"])
def test_transformers(tmp_path: Path, temperature: str) -> None:
    text = refusal(tmp_path, f"stage2.temperature={temperature}")
    assert "'stage2.temperature' should be from 1e-30 to 1e+30 with engine 'transformers'" in text


def test_the_built_in_engine_draws_the_likeliest_token_at_its_least_temperature_and_any_at_its_greatest() -> (
    None
):
    """The limits hold the engine's arithmetic; far below them the last token was drawn, whatever its logit."""
    logits = torch.tensor([[3.0, 20.0, -5.0, 19.9]]).repeat(4, 1)
    noise = torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=torch.float64)
    least, greatest = LIMITS["transformers"].temperature
    assert draw(logits, least, noise).tolist() == [1, 1, 1, 1]
    assert draw(logits, greatest, noise).tolist() == [0, 1, 2, 3]
    assert draw(logits, 1e-40, noise).tolist() == [3, 3, 3, 3]


def test_the_greatest_rank_is_the_engines() -> None:
    assert LIMITS["vllm"].lora_r == vllm_engine._RANKS[-1]


def test_ranks_of_adapters_on_each_other_add_up(tmp_path: Path) -> None:
    experiment = load_experiment(write_experiment(tmp_path, engine="vllm"))
    asked, solutions = questions(**SPLIT), gold(**SPLIT)
    model = base_model(ref="sha256:0")
    assert adapter_rank(model) == 0
    for rank in (300, 212, 1):
        settings = experiment.training(experiment.sft) | {"lora_r": rank}
        model = sft(model=model, questions=asked, responses=solutions, settings=settings, seed=0)
    assert adapter_rank(model) == 513
    with pytest.raises(
        UserError, match=r"^the adapters of a model together have a rank that should be at most 512"
    ):
        answer(experiment, Answerer(model), asked)
    full = experiment.training(experiment.sft) | {"tuning": "full"}
    model = sft(model=model, questions=asked, responses=solutions, settings=full, seed=0)
    assert adapter_rank(model) == 0, "the adapters below it are merged"
    check_sampling("vllm", model, n=1, temperature=0)


def test_recipes_with_other_names_for_the_temperature_are_refused_as_well(tmp_path: Path) -> None:
    experiment = load_experiment(write_experiment(tmp_path, engine="vllm"))
    with pytest.raises(UserError, match=r"^temperature should be from 0\.01 to 2 .* \(given: 7\)$"):
        answer(experiment, Answerer(base_model(ref="sha256:0")), questions(**SPLIT), n=2, temperature=7.0)


def test_a_seed_that_numpy_does_not_take(tmp_path: Path) -> None:
    assert load_experiment(write_experiment(tmp_path, seed=2**32 - 1))
    assert "'seed': should be less than or equal to 4294967295" in refusal(tmp_path, seed=2**32)
