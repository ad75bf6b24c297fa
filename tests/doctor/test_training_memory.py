"""Estimates of memory against what torch allocates while the project's own trainers and engine work."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.doctor.measured import FAMILIES, make_base, peak, peak_of_training, trainer_of
from w2s_core.doctor import memory
from w2s_core.models import load_tokenizer
from w2s_core.sampling import SamplingParams

LARGER = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 8, "vocab_size": 6000}
"""Layers and logits that outweigh the buffer of TRL's likelihoods."""
OVER, UNDER = 1.25, 0.95
"""How far an estimate may be from what is measured, in parts of it."""


def estimate(
    base: Path, method: str, rows: int, tokens: int, *, gpu: bool, trained: memory.Trained | None = None
) -> dict[str, int]:
    config = memory.read_config(base)
    parameters = memory.read_weights(base, config).parameters
    shape = memory.Shape.of(config, base)
    held = memory.Held(memory.HALF if gpu else memory.FLOAT32)
    trained = trained or memory.Trained(8)
    return memory.training_memory(
        shape, parameters, method=method, trained=trained, rows=rows, tokens=tokens, gpu=gpu, held=held
    )


def beyond_the_start(parts: dict[str, int]) -> int:
    """What a training adds to the weights and the adapter, which are there before."""
    return sum(value for name, value in parts.items() if name not in ("weights", "adapter"))


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("larger") / "base", **LARGER)


@pytest.mark.parametrize("method", ["sft", pytest.param("dpo", marks=pytest.mark.slow), "orpo"])
@pytest.mark.parametrize("size", ["small", pytest.param("larger", marks=pytest.mark.slow)])
def test_the_peak_of_a_training_on_a_processor(tmp_path: Path, larger: Path, method: str, size: str) -> None:
    base = larger if size == "larger" else make_base(tmp_path / "base")
    trainer, tokens = trainer_of(base, tmp_path / "work", method, 4, 120, like_a_gpu=False)
    estimated = beyond_the_start(estimate(base, method, 4, tokens, gpu=False))
    assert UNDER < estimated / peak_of_training(trainer, tmp_path / "trace.json") < OVER


@pytest.mark.parametrize(
    "method", ["sft", *(pytest.param(method, marks=pytest.mark.slow) for method in ("dpo", "orpo"))]
)
def test_the_peak_of_a_training_with_bfloat16_and_checkpointing(
    tmp_path: Path, larger: Path, method: str
) -> None:
    """As on a GPU, but for the copies that TRL makes of a tile where it has no kernel."""
    trainer, tokens = trainer_of(larger, tmp_path / "work", method, 4, 120, like_a_gpu=True)
    estimated = beyond_the_start(estimate(larger, method, 4, tokens, gpu=True))
    if method != "orpo":
        read = 4 * tokens * (2 if method == "dpo" else 1)
        estimated += 7 * read * LARGER["vocab_size"] * memory.FLOAT32
    assert UNDER < estimated / peak_of_training(trainer, tmp_path / "trace.json") < OVER


@pytest.mark.slow
def test_with_checkpointing_each_further_layer_adds_what_is_said(tmp_path: Path) -> None:
    measured, estimated = [], []
    for layers in (2, 18):
        folder = tmp_path / str(layers)
        base = make_base(folder / "base", num_hidden_layers=layers, vocab_size=120)
        trainer, tokens = trainer_of(base, folder / "work", "orpo", 8, 200, like_a_gpu=True, rank=1)
        estimated.append(
            beyond_the_start(estimate(base, "orpo", 8, tokens, gpu=True, trained=memory.Trained(1)))
        )
        measured.append(peak_of_training(trainer, folder / "trace.json"))
    assert 0.85 < (estimated[1] - estimated[0]) / (measured[1] - measured[0]) < OVER


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"llama"}))
def test_the_peak_of_other_families(tmp_path: Path, family: str) -> None:
    base = make_base(tmp_path / "base", family, num_hidden_layers=8, intermediate_size=512)
    trainer, tokens = trainer_of(base, tmp_path / "work", "sft", 2, 120, like_a_gpu=False)
    estimated = beyond_the_start(estimate(base, "sft", 2, tokens, gpu=False))
    assert UNDER < estimated / peak_of_training(trainer, tmp_path / "trace.json") < OVER


DORA = {"lora_dora": True}
FULL: dict[str, Any] = {"tuning": "full", "lora_r": 32, "max_steps": 3}
"""Three steps: the optimiser's moments are there from the second on."""


def said(base: Path, method: str, tokens: int, change: dict[str, Any], *, gpu: bool) -> int:
    settings = {"lora_r": 8} | change
    parts = estimate(base, method, 4, tokens, gpu=gpu, trained=memory.Trained.of(settings))
    return beyond_the_start(parts)


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("sft", FULL),
        pytest.param("dpo", FULL, marks=pytest.mark.slow),
        pytest.param("simpo", FULL, marks=pytest.mark.slow),
        pytest.param("sft", FULL | {"optimizer": "adafactor"}, marks=pytest.mark.slow),
        pytest.param("sft", DORA, marks=pytest.mark.slow),
        pytest.param("cpo", {}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("like_a_gpu", [False, True])
def test_the_peak_of_other_manners_of_training(
    tmp_path: Path, larger: Path, method: str, change: dict[str, Any], like_a_gpu: bool
) -> None:
    trainer, tokens = trainer_of(
        larger, tmp_path / "work", method, 4, 120, like_a_gpu=like_a_gpu, change=change
    )
    estimated = said(larger, method, tokens, change, gpu=like_a_gpu)
    if like_a_gpu and method in ("sft", "dpo"):
        read = 4 * tokens * (2 if method == "dpo" else 1)
        estimated += 7 * read * LARGER["vocab_size"] * memory.FLOAT32
    assert UNDER < estimated / peak_of_training(trainer, tmp_path / "trace.json") < OVER


def test_with_few_tokens_the_gradients_of_all_weights_are_the_peak(tmp_path: Path, larger: Path) -> None:
    trainer, tokens = trainer_of(larger, tmp_path / "work", "sft", 1, 4, like_a_gpu=False, change=FULL)
    parts = estimate(larger, "sft", 1, tokens, gpu=False, trained=memory.Trained.of(FULL))
    assert parts["gradients"] > 0.5 * parts["optimiser"] / 2
    assert UNDER < beyond_the_start(parts) / peak_of_training(trainer, tmp_path / "trace.json") < OVER


@pytest.mark.parametrize("change", [{}, DORA | {"lora_targets": ("q_proj", "up_proj")}, {"optimizer": "sgd"}])
@pytest.mark.parametrize("like_a_gpu", [False, True])
def test_weights_adapter_gradients_and_moments_to_the_byte(
    tmp_path: Path, like_a_gpu: bool, change: dict[str, Any]
) -> None:
    base = make_base(tmp_path / "base", "qwen3")
    trainer, tokens = trainer_of(base, tmp_path / "work", "sft", 2, 20, like_a_gpu=like_a_gpu, change=change)
    made = memory.Trained.of({"lora_r": 8} | change)
    estimated = estimate(base, "sft", 2, tokens, gpu=like_a_gpu, trained=made)
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    gradients: dict[int, int] = {}
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: gradients.update({id(p): size_of(p.grad)}))
    trainer.train()
    assert estimated["weights"] == sum(size_of(p) for p in trainer.model.parameters() if not p.requires_grad)
    assert estimated["adapter"] == sum(map(size_of, trained))
    assert estimated["gradients"] == sum(gradients.values())
    moments = [
        tensor
        for state in trainer.optimizer.state.values()
        for name, tensor in state.items()
        if name != "step"
    ]
    assert len(moments) == (0 if change.get("optimizer") == "sgd" else 2 * len(trained))
    assert estimated["optimiser"] == sum(map(size_of, moments))


def size_of(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def test_the_tiles_of_the_likelihoods_are_as_large_as_trl_says() -> None:
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    assert chunked_logprob.TOKEN_CHUNK_SIZE == memory.TILE_TOKENS
    assert utils._CHUNKED_LOGPROB_CHUNK_SIZE == memory.TILE_WORDS


@pytest.mark.parametrize("family", ["llama", pytest.param("gemma2", marks=pytest.mark.slow)])
def test_the_peak_of_sampling(tmp_path: Path, family: str) -> None:
    from transformers import AutoModelForCausalLM

    from w2s_core.sampling.transformers_engine import TransformersEngine

    base = make_base(tmp_path / "base", family)
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "model.json").write_text('{"base": "here", "adapters": []}')
    tokenizer = load_tokenizer(tmp_path / "artifact", {"here": base})
    engine = TransformersEngine(AutoModelForCausalLM.from_pretrained(base), tokenizer)
    engine._eos = set  # type: ignore[method-assign]  # so that every response has the greatest length
    prompts = [(str(number), " ".join([str(number)] * 60)) for number in range(40)]
    params = SamplingParams(max_new_tokens=32, n=2, temperature=1.0, stop=())
    measured, responses = peak(lambda: engine.generate(prompts, params), tmp_path / "trace.json")
    assert all(response.tokens == 32 for answers in responses for response in answers)
    config = memory.read_config(base)
    shape, width = memory.Shape.of(config, base), memory.FLOAT32
    estimated = memory.sampling_memory(shape, 0, rows=80, own=32, shared=40 * 60, width=width)
    assert UNDER < sum(estimated.values()) / measured < 2


def test_more_of_anything_takes_more() -> None:
    shape = memory.Shape(4, 64, 4, 2, 16, 128, 1000, 512)
    first = {"method": "sft", "trained": memory.Trained(8), "rows": 4, "tokens": 32, "gpu": False}
    first |= {"held": memory.Held(memory.FLOAT32)}
    for change in ({"trained": memory.Trained(16)}, {"rows": 8}, {"tokens": 64}, {"method": "dpo"}):
        less, more = (
            sum(memory.training_memory(shape, 10**6, **settings).values())
            for settings in (first, first | change)
        )  # type: ignore[arg-type]
        assert less < more, change
    assert torch.float32.itemsize == memory.FLOAT32
    assert torch.bfloat16.itemsize == memory.HALF


def test_weights_spread_over_devices_or_in_four_bits_take_less() -> None:
    """Llama-2-70b: 140 GB in bfloat16; 17.5 GB and two layers on each of 8; in 4 bits what QLoRA's users see."""
    shape = memory.Shape(80, 8192, 64, 8, 128, 28672, 32000, 4096)
    parameters = 68_976_648_192
    size = {
        name: memory.Held(memory.HALF, **held).size(shape, parameters) / 1e9
        for name, held in {"whole": {}, "spread": {"spread": 8}, "4-bit": {"four_bits": True}}.items()
    }
    layer = 2 * (68_976_648_192 - 2 * 32000 * 8192) / 80 / 1e9
    assert size["whole"] == pytest.approx(137.95, abs=0.01)
    assert size["spread"] == pytest.approx(137.95 / 8 + 2 * layer, rel=1e-3)
    assert 35 < size["4-bit"] < 37
