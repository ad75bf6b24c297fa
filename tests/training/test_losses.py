"""Loss and gradient of each method against arithmetic that is written out here and owes TRL nothing."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny import rows_for
from w2s_core.training import trainers
from w2s_core.training.core import Site, prepare
from w2s_core.training.quicken import Linear, QuickLinear
from w2s_core.training.settings import TrainSettings

BETA = 0.3
Start = tuple[Path, dict[str, Path]]


def ready(start: Start, method: str, tmp_path: Path, **change: Any) -> Any:
    """A trainer with an adapter that is away from zero, and its first batch."""
    settings = TrainSettings(  # type: ignore[arg-type]
        **{"method": method, "learning_rate": 1e-2, "batch_size": 4, "epochs": 1, "beta": BETA, "lora_r": 4}
        | change
    )
    trainer = prepare(start[0], rows_for(method, 4), settings, Site(start[1], tmp_path, tmp_path)).trainer
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    trainer.current_gradient_accumulation_steps = 1
    trainer.state.global_step = 1  # past the first step, at which DPO insists on ln 2
    trainer.model.train()
    return trainer, next(iter(trainer.get_train_dataloader()))


def token_log_probabilities(model: Any, ids: Any, mask: Any) -> list[Any]:
    """Of each row, the log-probabilities of its completion tokens, one row at a time and without padding."""
    rows = []
    for tokens, completion in zip(ids, mask.bool(), strict=True):
        length = int(completion.nonzero().max()) + 1
        logits = model(tokens[None, :length], use_cache=False).logits[0].double()
        places = [i for i in range(1, length) if completion[i]]
        rows.append(
            torch.stack([logits[i - 1, tokens[i]] - torch.logsumexp(logits[i - 1], 0) for i in places])
        )
    return rows


def sft_by_hand(model: Any, batch: Any) -> Any:
    rows = token_log_probabilities(model, batch["input_ids"], batch["labels"] != -100)
    return -sum(row.sum() for row in rows) / sum(len(row) for row in rows)


def dpo_by_hand(model: Any, batch: Any) -> Any:
    """Mean over pairs of log(1 + exp(-beta * margin)), margin = difference of the two log ratios to the reference."""
    ids, mask = batch["input_ids"], batch["completion_mask"]
    policy = [row.sum() for row in token_log_probabilities(model, ids, mask)]
    with model.disable_adapter(), torch.no_grad():
        reference = [row.sum() for row in token_log_probabilities(model, ids, mask)]
    ratio = [a - b for a, b in zip(policy, reference, strict=True)]
    half = len(ratio) // 2
    margins = [ratio[i] - ratio[half + i] for i in range(half)]
    return sum(torch.log(1 + torch.exp(-BETA * margin)) for margin in margins) / half


def orpo_by_hand(model: Any, batch: Any) -> Any:
    """Mean over pairs of -log p_c + beta * log(1 + odds_r / odds_c), p the geometric mean of a response's tokens."""
    means = [
        row.mean() for row in token_log_probabilities(model, batch["input_ids"], batch["completion_mask"])
    ]
    half, total = len(means) // 2, 0.0
    for chosen, rejected in zip(means[:half], means[half:], strict=True):
        odds = [torch.exp(one) / (1 - torch.exp(one)) for one in (chosen, rejected)]
        total = total - chosen + BETA * torch.log(1 + odds[1] / odds[0])
    return total / half


BY_HAND = {"sft": sft_by_hand, "dpo": dpo_by_hand, "orpo": orpo_by_hand}


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


@pytest.mark.parametrize("method", BY_HAND)
def test_loss_and_gradient_equal_the_formula(start: Start, method: str, tmp_path: Path) -> None:
    trainer, batch = ready(start, method, tmp_path)
    got = trainer.compute_loss(trainer.model, batch)
    found = gradients(trainer.model, got)
    for module in trainer.model.modules():
        if isinstance(module, QuickLinear):
            module.__class__ = Linear  # the formula runs on PEFT's own layers
    wanted = BY_HAND[method](trainer.model, batch)
    assert got.item() == pytest.approx(wanted.item(), rel=1e-5)
    for name, grad in gradients(trainer.model, wanted).items():
        torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=1e-5, msg=name)
        assert grad.abs().max() > 0


@pytest.mark.parametrize("method", BY_HAND)
def test_a_step_down_the_gradient_lowers_the_loss_by_its_square(
    start: Start, method: str, tmp_path: Path
) -> None:
    """The directional derivative, by central difference of the formula, needs no autograd at all."""
    trainer, batch = ready(start, method, tmp_path)
    found = gradients(trainer.model, trainer.compute_loss(trainer.model, batch))
    weights = {name: one for name, one in trainer.model.named_parameters() if one.requires_grad}
    square = sum(float(one.double().square().sum()) for one in found.values())
    step, values = 1e-3 / math.sqrt(square), []
    with torch.no_grad():
        for sign in (1, -2):
            for name, weight in weights.items():
                weight += sign * step * found[name]
            values.append(BY_HAND[method](trainer.model, batch).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(square, rel=1e-2)


def test_orpo_worked_with_a_pencil(start: Start, tmp_path: Path) -> None:
    """p_c = 1/2 and p_r = 1/5: odds 1 and 1/4, ratio 4, so log sigmoid(log 4) = log(4/5)."""
    trainer, _ = ready(start, "orpo", tmp_path)
    losses, chosen, rejected, ratio, odds = trainer.odds_ratio_loss(
        torch.tensor([0.5]).log(), torch.tensor([0.2]).log()
    )
    assert losses.item() == pytest.approx(BETA * math.log(4 / 5), rel=1e-6)
    assert odds.item() == pytest.approx(math.log(4), rel=1e-6)
    assert ratio.item() == pytest.approx(math.log(0.8), rel=1e-6)
    assert chosen.item() == pytest.approx(BETA * math.log(0.5))
    assert rejected.item() == pytest.approx(BETA * math.log(0.2))


@pytest.mark.parametrize("chosen", [0.0, -1e-9, -3e-8, -1e-7, -1e-6, -1e-3])
@pytest.mark.parametrize("rejected", [0.0, -1e-9, -1e-6, -2.0, -60.0])
def test_orpo_is_finite_where_a_model_is_certain(
    start: Start, tmp_path_factory: pytest.TempPathFactory, chosen: float, rejected: float
) -> None:
    """log(1 - p) cancels near p = 1, and TRL's own gradient is NaN near log p = -1e-8 (trl#3237)."""
    trainer = _orpo(start, tmp_path_factory)
    sides = torch.tensor([[chosen], [rejected]], requires_grad=True)
    losses = trainer.odds_ratio_loss(sides[0], sides[1])[0]
    losses.sum().backward()
    assert sides.grad is not None
    assert torch.isfinite(losses).all()
    assert torch.isfinite(sides.grad).all()
    exact = [min(one, trainers.ALMOST_CERTAIN) for one in (chosen, rejected)]
    odds = exact[0] - exact[1] - math.log(-math.expm1(exact[0])) + math.log(-math.expm1(exact[1]))
    assert losses.item() == pytest.approx(-BETA * math.log1p(math.exp(-odds)), rel=1e-3, abs=1e-9)


_built: list[Any] = []


def _orpo(start: Start, factory: pytest.TempPathFactory) -> Any:
    if not _built:
        _built.append(ready(start, "orpo", factory.mktemp("orpo"))[0])
    return _built[0]


def test_without_the_limit_orpos_gradient_would_not_be_finite() -> None:
    """Why the limit exists; when TRL mends it, this fails and the limit can go."""
    from trl.experimental.orpo.orpo_trainer import log1mexp

    certain = torch.tensor([-1e-9, 0.0], requires_grad=True)
    log1mexp(certain).sum().backward()
    assert certain.grad is not None
    assert not torch.isfinite(certain.grad).any()


@pytest.mark.parametrize("shape", [(3, 5, 32), (7, 32)])
@pytest.mark.parametrize("bias", [False, True])
def test_quick_layers_compute_what_pefts_layers_compute(shape: tuple[int, ...], bias: bool) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=["0"], init_lora_weights=False)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(32, 48, bias=bias)), config)  # type: ignore[arg-type]
    layer = model.base_model.model[0]
    x, grad = torch.randn(shape, requires_grad=True), torch.randn(*shape[:-1], 48)

    def run() -> list[Any]:
        x.grad = None
        model.zero_grad()
        out = layer(x)
        out.backward(grad)
        weights = [one.grad.clone() for one in layer.parameters() if one.requires_grad]
        return [out.detach(), x.grad, *weights]

    assert type(layer) is Linear
    wanted = run()
    layer.__class__ = QuickLinear
    got = run()
    assert got[0].grad_fn is None
    assert len(got) == len(wanted) == 4
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with model.disable_adapter():
        torch.testing.assert_close(layer(x), layer.base_layer(x))


def test_dropout_hangs_on_the_step_and_on_no_other_random_number(start: Start, tmp_path: Path) -> None:
    trainer, batch = ready(start, "sft", tmp_path, lora_dropout=0.5)

    def loss(step: int) -> float:
        trainer.state.global_step = step
        value: float = trainer.compute_loss(trainer.model, dict(batch)).item()
        return value

    first = loss(1)
    assert loss(2) != first
    torch.manual_seed(5)
    assert loss(1) == first
