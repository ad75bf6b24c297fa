"""QLoRA: frozen weights in 4 bits, rounded as the paper says (2305.14314), under a whole two-stage training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.test_training import run, settings
from tests.training.tiny import make_artifact, make_base, rows_for
from w2s_core.models import load_model

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'w2s[qlora]'")

BELOW = (-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911)
ABOVE = (0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0)
NF4 = torch.tensor([*BELOW, 0.0, *ABOVE])
"""The sixteen values of 4-bit normal floats, to four digits (the paper's appendix E)."""
BLOCK = 64
"""Weights that share a scale (the paper's section 4)."""


@pytest.mark.slow
def test_nothing_is_said_of_kernels_when_peft_imports_it() -> None:
    """It warns on processors with AVX512-BF16; elsewhere this holds of itself."""
    code = "import w2s_core, peft.tuners.lora, bitsandbytes"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    root = tmp_path_factory.mktemp("start")
    return make_artifact(root / "model", make_base(root / "base", hidden_size=64, intermediate_size=128))


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """Each block of 64 by its largest magnitude, then the nearest of the sixteen values: slow, and plain to see."""
    blocks = weight.detach().reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks / scale).unsqueeze(-1).sub(NF4).abs().argmin(-1)
    return (NF4[nearest] * scale).reshape(weight.shape)


def test_weights_are_rounded_as_the_paper_says(start: tuple[Path, dict[str, Path]]) -> None:
    from bitsandbytes.functional import dequantize_4bit

    whole, _ = load_model(*start)
    coarse, _ = load_model(*start, quantization="nf4")
    layers = dict(coarse.named_modules())
    names = [name for name, one in layers.items() if type(one).__name__ == "Linear4bit"]
    assert len(names) == 2 * 7  # every projection of both layers, and not the output's
    for name in names:
        weight, exact = layers[name].weight, whole.get_parameter(f"{name}.weight")
        back = dequantize_4bit(weight.data, weight.quant_state)
        # The scales are rounded too (to 8 bits), so the two agree to a percent of the largest weight, but for weights
        # in the middle between two of the sixteen values.
        apart = (back - rounded(exact)).abs() > 0.01 * exact.abs().max()
        assert apart.float().mean() < 0.002
        assert (back - exact).abs().mean() > 0.01


@pytest.mark.slow
def test_the_two_stages_run_on_them_and_give_an_artifact_like_any_other(
    start: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    model = start[0]
    for number, method in enumerate(("sft", "dpo", "orpo")):
        chosen = settings(method, epochs=2, quantization="nf4")
        summary = run((model, start[1]), tmp_path / method, rows_for(method, 24), chosen)
        assert summary["quantization"] == "nf4"
        assert summary["loss_last"] < summary["loss_first"]
        model = tmp_path / method / "out"
        merged, _ = load_model(model, start[1])  # for sampling: adapters on the whole weights
        assert len(list((model / "adapters").iterdir())) == number + 1
        assert all(torch.isfinite(one).all() for one in merged.parameters())
