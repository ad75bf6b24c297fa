"""Trainings of all weights: the artifact, what stands on it and below it, and the reference of DPO."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.test_losses import BETA, token_log_probabilities
from tests.training.test_training import Start, files, run, settings
from tests.training.tiny import make_artifact, make_base, pairs, rows_for, sums
from w2s_core.errors import UserError
from w2s_core.models import load_model, locate
from w2s_core.rows import read_json
from w2s_core.training.core import Site, prepare

IDS = torch.tensor([[5, 9, 12, 7, 20, 11]])
JOB: dict[str, Any] = {"tuning": "full", "learning_rate": 1e-3}
STILL: dict[str, Any] = {"learning_rate": 1e-12}
"""A rate at which nothing moves."""


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(IDS).logits
        return result


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def begun(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A base whose output layer is its own or the embeddings, without a token for padding."""
    root = tmp_path_factory.mktemp("begun")
    base = make_base(root / "base", pad=False, tie_word_embeddings=request.param)
    return make_artifact(root / "model", base)


@pytest.fixture(scope="module")
def full(begun: Start, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A model all of whose weights were trained."""
    folder = tmp_path_factory.mktemp("full")
    run(begun, folder, sums(40), settings(epochs=2, **JOB))
    return folder / "out", begun[1]


def test_the_result_is_a_plain_folder_of_a_model(begun: Start, full: Start) -> None:
    (base,) = begun[1].values()
    assert read_json(full[0] / "model.json") == {
        "base": next(iter(begun[1])),
        "adapters": [],
        "weights": "weights",
    }
    located = locate(*full)
    assert (located.source, located.revision, located.adapters) == (str(full[0] / "weights"), None, ())
    plain = AutoModelForCausalLM.from_pretrained(located.source)
    assert torch.equal(logits(plain), logits(load_model(*full)[0]))
    text = "Tom finds 3 apples .\n how many"
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in (located.source, base)]
    assert tokenizers[0](text) == tokenizers[1](text)
    configs = [read_json(Path(place) / "config.json") for place in (located.source, base)]
    assert configs[0] == configs[1], "TRL's token for padding stays out of it"


def test_every_weight_is_trained_and_nothing_that_others_start_from(begun: Start, tmp_path: Path) -> None:
    (base,) = begun[1].values()
    kept, before = logits(load_model(*begun)[0]), files(base)
    run(begun, tmp_path, sums(40), settings(epochs=2, **JOB))
    after, start = (load_file(place / "model.safetensors") for place in (tmp_path / "out/weights", base))
    assert after.keys() == start.keys()
    assert all(not torch.equal(after[name], start[name]) for name in start)
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    assert torch.equal(logits(load_model(*begun)[0]), kept)
    assert files(base) == before


def test_an_adapter_on_it_and_all_weights_on_that(begun: Start, full: Start, tmp_path: Path) -> None:
    """Each starts from what the one before it ended with, and its files stand by themselves."""
    run(full, tmp_path / "adapter", pairs(16), settings("dpo", **STILL))
    adapter = tmp_path / "adapter/out"
    shutil.copytree(adapter, tmp_path / "moved")
    moved = (tmp_path / "moved", begun[1])
    assert read_json(adapter / "model.json")["adapters"] == ["adapters/0"]
    torch.testing.assert_close(logits(load_model(*moved)[0]), logits(load_model(*full)[0]))
    run(full, tmp_path / "trained", sums(40), settings(epochs=2))
    trained = (tmp_path / "trained/out", begun[1])
    unmerged = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(trained[0] / "weights"), str(trained[0] / "adapters/0")
    )
    torch.testing.assert_close(logits(load_model(*trained)[0]), logits(unmerged), rtol=0, atol=1e-4)
    assert (logits(unmerged) - logits(load_model(*full)[0])).abs().max() > 0.01
    run(trained, tmp_path / "again", sums(16), settings(**JOB | STILL))
    again = (tmp_path / "again/out", begun[1])
    assert read_json(again[0] / "model.json")["adapters"] == []
    torch.testing.assert_close(
        logits(load_model(*again)[0]), logits(load_model(*trained)[0]), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_reference_of_dpo_is_the_start(full: Start, tmp_path: Path, precision: str) -> None:
    """The loss of moved weights, by the paper's equation and the start as it is loaded anew."""
    chosen = settings("dpo", beta=BETA, precision=precision, **JOB)
    trainer = prepare(full[0], rows_for("dpo", 8), chosen, Site(full[1], tmp_path, tmp_path)).trainer
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    trainer.state.global_step, trainer.current_gradient_accumulation_steps = 1, 1
    batch = next(iter(trainer.get_train_dataloader()))
    ids, mask = batch["input_ids"], batch["completion_mask"]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        got = trainer.compute_loss(trainer.model, dict(batch)).item()
    policy, reference = copy.deepcopy(trainer.model), load_model(*full)[0]
    with torch.no_grad():
        sides = [
            [float(row.sum()) for row in token_log_probabilities(model, ids, mask)]
            for model in (policy, reference)
        ]
    ratios = torch.tensor(sides[0]) - torch.tensor(sides[1])
    margins = ratios[:8] - ratios[8:]
    wanted = torch.log1p(torch.exp(-BETA * margins)).mean().item()
    assert abs(wanted - 0.6931) > 0.05
    assert got == pytest.approx(wanted, rel=1e-4 if precision == "float32" else 0.05)


def test_weights_that_are_gone_or_lie_outside_are_named(full: Start, tmp_path: Path) -> None:
    shutil.copytree(full[0], tmp_path / "copy")
    (tmp_path / "copy/weights/model.safetensors").unlink()
    with pytest.raises(UserError, match="weights: no weights, expected model.safetensors"):
        load_model(tmp_path / "copy", full[1])
    content = read_json(tmp_path / "copy/model.json") | {"weights": "../elsewhere"}
    (tmp_path / "copy/model.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="model.json: expected"):
        load_model(tmp_path / "copy", full[1])


REFUSED = [
    (
        {"lora_dora": True},
        "field 'lora_dora': is of adapters, and tuning: full trains none; leave one of both out",
    ),
    ({"lora_r": 4}, "field 'lora_r': is of adapters"),
    ({"quantization": "nf4"}, "field 'quantization': goes with tuning: lora and without lora_dora"),
    ({"optimizer": "adamw"}, "field 'optimizer': should be 'adamw_torch_fused', 'adafactor'"),
    ({"loss": "ipo"}, "field 'loss': should be one of sigmoid with sft (given: ipo)"),
    ({"gamma": 0.5}, "field 'gamma': is of simpo, and sft has no use for it"),
    ({"nll_weight": 0.5}, "field 'nll_weight': is of cpo, and sft has no use for it"),
    ({"method": "dpo", "loss": "aot"}, "field 'loss': should be 'sigmoid', 'hinge', 'ipo'"),
    ({"method": "cpo", "loss": "robust"}, "field 'loss': should be one of sigmoid, hinge, ipo with cpo"),
    (
        {"method": "dpo", "label_smoothing": 0.1},
        "changes the loss only with loss: robust or exo_pair; leave it out",
    ),
    ({"method": "orpo", "label_smoothing": 0.1}, "changes the loss never with orpo; leave it out"),
    ({"method": "dpo", "loss": "robust"}, "should be above 0: at 0 the loss robust is sigmoid"),
    ({"method": "dpo", "loss": "exo_pair"}, "should be above 0: at 0 the loss exo_pair is not finite"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=lambda case: str(case)[:40])
def test_what_does_not_go_together_is_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(**JOB | change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_that_a_model_has_not_are_named_with_those_that_it_has(begun: Start, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="llama model has no layers named c_attn, lm_head, which .* name q_proj, k_proj"
    ):
        run(begun, tmp_path, sums(8), settings(lora_targets=["c_attn", "q_proj", "lm_head"]))
    assert files(tmp_path / "out") == {}
