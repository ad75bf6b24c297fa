"""Token by token: what each of the three methods really trains on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny import make_artifact, make_base, make_tokenizer, rows_for
from w2s_core.training.core import Prepared, Site, prepare
from w2s_core.training.settings import TrainSettings

TOKENIZERS = [(False, True), (True, True), (False, False), (True, False)]


@pytest.fixture(scope="module", params=TOKENIZERS, ids=lambda p: f"bos={p[0]},pad={p[1]}")
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A start whose tokenizer adds BOS or not, and has a padding token or not."""
    bos, pad = request.param
    root = tmp_path_factory.mktemp("kind")
    return bos, *make_artifact(root / "model", make_base(root / "base", bos=bos, pad=pad))


def ready(kind: tuple[Any, ...], method: str, tmp_path: Path) -> Prepared:
    settings = TrainSettings(method=method, learning_rate=1e-2, batch_size=4, epochs=1)  # type: ignore[arg-type]
    return prepare(kind[1], rows_for(method, 10), settings, Site(kind[2], tmp_path, tmp_path))


def expected(bos: bool, row: dict[str, str], side: str) -> tuple[list[int], list[int]]:
    """Prompt and completion spelled out with the vocabulary, not with the code under test."""
    ids = make_tokenizer(bos=False).convert_tokens_to_ids
    asked = f"Question : {row['question']} \n Answer :".split(" ")
    bos_ids = [ids("<bos>")] if bos else []
    return bos_ids + [ids(word) for word in asked], [*map(ids, row[side].split(" ")), ids("<eos>")]


@pytest.mark.parametrize("method", ["sft", "dpo", "orpo"])
def test_prompt_and_completion_stand_in_the_batch_as_they_are_sampled(
    kind: tuple[Any, ...], method: str, tmp_path: Path
) -> None:
    made = ready(kind, method, tmp_path)
    rows = rows_for(method, 10)
    place, seen = 0, 0
    for batch in made.trainer.get_train_dataloader():
        sides = ["response"] if method == "sft" else ["chosen", "rejected"]
        each = len(batch["input_ids"]) // len(sides)
        numbers = made.plan.order[place : place + each]
        place += each
        for index, ids in enumerate(batch["input_ids"]):
            row, side = rows[numbers[index % each]], sides[index // each]
            prompt, completion = expected(kind[0], row, side)
            length = len(prompt) + len(completion)
            assert ids[:length].tolist() == prompt + completion
            assert batch["attention_mask"][index].tolist() == [1] * length + [0] * (len(ids) - length)
            if method == "sft":
                labels = batch["labels"][index]
                assert labels[length:].eq(-100).all()
                assert torch.equal(labels[labels != -100], ids[labels != -100])
                mask = (labels != -100).long()
            else:
                mask = batch["completion_mask"][index]
            assert mask.tolist() == [0] * len(prompt) + [1] * len(completion) + [0] * (len(ids) - length)
            seen += 1
    assert seen == 10 * (1 if method == "sft" else 2)


@pytest.mark.parametrize("method", ["sft", "dpo", "orpo"])
def test_tokens_before_the_completion_get_no_gradient(
    kind: tuple[Any, ...], method: str, tmp_path: Path
) -> None:
    """At the last layer each position's gradient is that of its own prediction."""
    trainer = ready(kind, method, tmp_path).trainer
    batch = next(iter(trainer.get_train_dataloader()))
    kept: list[Any] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        output.last_hidden_state.retain_grad()
        kept.append(output.last_hidden_state)

    # Frozen weights below would leave the hidden states without a gradient to retain at the very first step.
    hook = trainer.model.get_base_model().base_model.register_forward_hook(keep)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    trainer.compute_loss(trainer.model, batch).backward()
    hook.remove()
    taught = kept[-1].grad.abs().sum(-1) > 0
    mask = batch["labels"] != -100 if method == "sft" else batch["completion_mask"].bool()
    assert torch.equal(taught[:, :-1], mask[:, 1:])
    assert not taught[:, -1].any()
