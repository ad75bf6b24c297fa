"""Products of large bases by oneDNN: where they are taken, and that they are what torch's own are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from tests.training.tiny import rows_for
from w2s_core.doctor import fit
from w2s_core.models import load_model, machine, products
from w2s_core.models.products import PackedLinear, by_onednn, pack, product
from w2s_core.prompting import zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.training import Site, TrainSettings, train
from w2s_core.training.core import prepare
from w2s_core.training.quicken import QuickLinear

Start = tuple[Path, dict[str, Path]]
PROMPTS = [(name, zero_shot(text)) for name, text in (("a", "1 + 2"), ("b", "what is 3 times 4"), ("c", "7"))]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every base counts as large, on a processor where oneDNN is faster."""
    monkeypatch.setattr(products, "LARGE", 0)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@pytest.mark.parametrize("shape", [(1, 24), (3, 24), (2, 5, 24), (200, 24)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("copied", [False, True])
@torch.inference_mode()
def test_products_are_those_of_double_precision(
    shape: tuple[int, ...], bias: bool, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "COPIED", 10**9 if copied else 0)
    layer, x = torch.nn.Linear(24, 40, bias=bias), torch.randn(shape)
    exact = functional.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    model: Any = torch.nn.Sequential(layer)
    model.num_parameters = lambda: 24 * 40
    pack(model)
    assert type(layer) is PackedLinear
    assert layer.packed.is_mkldnn is copied
    torch.testing.assert_close(model(x).double(), exact, rtol=1e-5, atol=1e-5)
    back = torch.randn(*shape[:-1], 40)
    torch.testing.assert_close(product(back, layer.weight.t()), back @ layer.weight, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_weights_that_are_not_float32_stay_as_they_are() -> None:
    layer, x = torch.nn.Linear(8, 8).bfloat16(), torch.randn(2, 8).bfloat16()
    model: Any = torch.nn.Sequential(layer)
    model.num_parameters = lambda: 64
    before = model(x)
    pack(model)
    assert type(layer) is torch.nn.Linear
    assert torch.equal(model(x), before)


CPUINFO = "processor : 0\nvendor_id\t: {}\nmodel name\t: A Processor\nflags\t\t: fpu sse2 avx2 {} xsave\n"


@pytest.mark.parametrize(
    ("text", "faster"),
    [
        (CPUINFO.format("AuthenticAMD", "avx512f"), True),
        (CPUINFO.format("AuthenticAMD", ""), False),
        (CPUINFO.format("AuthenticAMD", "avx512fx"), False),
        (CPUINFO.format("GenuineIntel", "avx512f"), False),
        ("processor : 0\nBogoMIPS : 50\nFeatures : fp asimd sve\n", False),
        ("", False),
    ],
)
def test_the_processor_decides(text: str, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_lines", lambda path: text.splitlines() if path == "/proc/cpuinfo" else [])
    machine.onednn_is_faster.cache_clear()
    assert machine.onednn_is_faster() is faster
    machine.onednn_is_faster.cache_clear()


def test_doctor_counts_the_second_copy(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load_model(*start)
    monkeypatch.setattr(machine, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    for limits in ({"LARGE": 1}, {"LARGE": 10**9}, {"LARGE": 1, "COPIED": 2}):
        with monkeypatch.context() as patch:
            for name, limit in limits.items():
                patch.setattr(machine, name, limit)
                patch.setattr(products, name, limit)
            view, _ = load_model(*start)
            before = {id(weight) for weight in view.parameters()}
            TransformersEngine(view, tokenizer)
            copies = [layer.packed for layer in view.modules() if isinstance(layer, PackedLinear)]
            copied = bool(copies) and copies[0].is_mkldnn
            assert before == {id(weight) for weight in view.parameters()}
            counted = fit.packed(model.num_parameters(), 4, "transformers", "cpu")
            assert bool(counted) is copied, limits
    monkeypatch.setattr(machine, "LARGE", 1)
    assert fit.packed(1000, 4, "transformers", "cpu") == {"packed weights": 4000}
    assert not fit.packed(1000, 2, "transformers", "cpu")
    assert not fit.packed(1000, 4, "vllm", "cpu")
    assert not fit.packed(1000, 4, "transformers", "cuda")


def test_small_bases_and_gpus_keep_torchs_own(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    model, tokenizer = load_model(*start)
    assert not by_onednn(model)
    TransformersEngine(model, tokenizer)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    monkeypatch.setattr(products, "LARGE", model.num_parameters())
    assert by_onednn(model)
    assert not by_onednn(model.to("meta"))
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    assert not by_onednn(load_model(*start)[0])


@pytest.mark.usefixtures("forced")
def test_a_packed_model_answers_alike_and_leaves_the_kept_one_alone(start: Start) -> None:
    params = SamplingParams(24, stop=(), n=2, temperature=0.7, seed=3)
    plain = load_model(*start)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("w2s_core.sampling.transformers_engine.by_onednn", lambda model: False)
        wanted = TransformersEngine(*plain).generate(PROMPTS, params)
    packed, tokenizer = load_model(*start)
    assert TransformersEngine(packed, tokenizer).generate(PROMPTS, params) == wanted
    assert isinstance(packed.get_output_embeddings(), PackedLinear)
    again, _ = load_model(*start)
    assert type(again.get_output_embeddings()) is torch.nn.Linear


def trained(start: Start, folder: Path, method: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of a short training and its adapter."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    # Plain steps: Adam's first is as long where a gradient is rounding alone.
    settings = TrainSettings(  # type: ignore[arg-type]
        method=method, learning_rate=0.5, optimizer="sgd", batch_size=4, max_steps=6, lora_r=4
    )
    train(start[0], rows_for(method, 8), settings, Site(start[1], folder / "out", folder / "work"))  # type: ignore[arg-type]
    log = json.loads((folder / "out/training.json").read_text())["log"]
    return [entry["loss"] for entry in log], load_file(folder / "out/adapters/0/adapter_model.safetensors")


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_training_differs_in_rounding_alone(
    start: Start, method: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    losses, adapter = trained(start, tmp_path / "plain", method)
    request.getfixturevalue("forced")
    others, other = trained(start, tmp_path / "other", method)
    assert losses == pytest.approx(others, rel=1e-4)
    assert adapter.keys() == other.keys()
    for name, weight in adapter.items():
        assert weight.abs().max() > 1e-3, "it was trained"
        torch.testing.assert_close(weight, other[name], rtol=1e-3, atol=1e-5, msg=name)
    settings = TrainSettings(method="sft", learning_rate=1e-2, batch_size=4, max_steps=1)
    ready = prepare(start[0], rows_for("sft", 4), settings, Site(start[1], tmp_path, tmp_path))
    layers = [module for module in ready.trainer.model.modules() if isinstance(module, QuickLinear)]
    assert layers
    assert all(layer.multiply is product for layer in layers)
