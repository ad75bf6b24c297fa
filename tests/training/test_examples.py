"""Encoding of rows, and the order of a training."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import make_tokenizer, pairs, sums
from w2s_core.errors import StopBranch, UserError
from w2s_core.prompting import TextEncoder, encode_completion, encode_prompt, zero_shot
from w2s_core.training.examples import Example, encode_rows, plan_batches
from w2s_core.training.settings import TrainSettings

SETTINGS = TrainSettings(method="sft", learning_rate=1e-3, batch_size=4, epochs=1)


def changed(settings: TrainSettings, **change: Any) -> TrainSettings:
    return TrainSettings(**settings.model_dump() | change)


def test_long_rows_are_left_out_whole_and_counted() -> None:
    tokenizer = make_tokenizer(bos=True)
    rows = sums(30)
    whole, none = encode_rows(TextEncoder(tokenizer), rows, "sft", 1000)
    limit = sorted(one.longest for one in whole)[10]
    kept, dropped = encode_rows(TextEncoder(tokenizer), rows, "sft", limit)
    assert none == 0
    assert dropped == sum(one.longest > limit for one in whole) > 0
    assert kept == [one for one in whole if one.longest <= limit]


def test_a_pair_is_as_long_as_its_longer_side() -> None:
    one = Example([1, 2], ([3], [4, 5, 6]))
    assert one.longest == 5
    assert one.tokens == 3 + 5


def test_all_rows_too_long_is_an_error_and_none_at_all_stops_the_branch() -> None:
    with pytest.raises(UserError, match="all 3 rows are longer than 4 tokens .* raise max_length"):
        encode_rows(TextEncoder(make_tokenizer(bos=False)), sums(3), "sft", 4)
    with pytest.raises(StopBranch, match="dpo: nothing to train on"):
        encode_rows(TextEncoder(make_tokenizer(bos=False)), [], "dpo", 100)


@pytest.mark.parametrize("broken", [{"chosen": None}, {"rejected": 3}, {"question": None}])
def test_a_row_without_text_is_named(broken: dict[str, Any]) -> None:
    rows = pairs(3)
    rows[1] |= broken
    with pytest.raises(UserError, match=f"row 'q1': '{next(iter(broken))}' has to be text"):
        encode_rows(TextEncoder(make_tokenizer(bos=False)), rows, "dpo", 100)


def test_pairs_are_encoded_as_for_sampling() -> None:
    tokenizer = make_tokenizer(bos=True)
    row = pairs(1)[0]
    (one,), _ = encode_rows(TextEncoder(tokenizer), [row], "orpo", 100)
    assert one.prompt == encode_prompt(tokenizer, zero_shot(row["question"]))
    assert one.completions == tuple(
        encode_completion(tokenizer, row[side]) for side in ("chosen", "rejected")
    )


lengths = st.lists(st.integers(2, 50), min_size=1, max_size=200)


@given(lengths, st.integers(1, 40), st.integers(1, 4), st.integers(0, 5))
def test_every_epoch_takes_every_row_once(sizes: list[int], batch: int, epochs: int, seed: int) -> None:
    batches = plan_batches(sizes, changed(SETTINGS, batch_size=batch, epochs=epochs, seed=seed))
    assert Counter(batches.order) == dict.fromkeys(range(len(sizes)), epochs)
    assert batches.steps == -(-len(batches.order) // batches.batch)


@given(lengths, st.integers(1, 40), st.integers(1, 4))
def test_no_batch_holds_a_row_twice(sizes: list[int], batch: int, epochs: int) -> None:
    batches = plan_batches(sizes, changed(SETTINGS, batch_size=batch, epochs=epochs))
    for start in range(0, len(batches.order), batches.batch):
        taken = batches.order[start : start + batches.batch]
        assert len(set(taken)) == len(taken)


@given(lengths, st.integers(1, 40), st.integers(1, 30))
def test_steps_are_exactly_as_many_as_asked_for(sizes: list[int], batch: int, steps: int) -> None:
    batches = plan_batches(sizes, changed(SETTINGS, batch_size=batch, epochs=None, max_steps=steps))
    assert batches.steps == steps
    assert len(batches.order) == steps * batches.batch


def test_the_order_depends_on_the_seed_alone_and_groups_like_lengths() -> None:
    sizes = [i % 37 + 3 for i in range(400)]
    settings = changed(SETTINGS, batch_size=16, epochs=2)
    batches = plan_batches(sizes, settings)
    assert batches == plan_batches(sizes, settings)
    assert batches.order != plan_batches(sizes, changed(settings, seed=1)).order

    def padding(order: list[int]) -> float:
        cut = [[sizes[i] for i in order[k : k + 16]] for k in range(0, len(order), 16)]
        return 1 - sum(map(sum, cut)) / sum(max(one) * len(one) for one in cut)

    assert padding(batches.order) < padding(list(range(400))) / 4


def test_fewer_rows_than_a_batch_make_a_batch_of_all() -> None:
    batches = plan_batches([5, 6, 7], changed(SETTINGS, batch_size=32, epochs=4))
    assert (batches.batch, batches.steps) == (3, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": None}, "exactly one of epochs and max_steps"),
        ({"max_steps": 3}, "exactly one of epochs and max_steps"),
        ({"method": "ppo"}, "field 'method': should be 'sft', 'dpo', 'orpo', 'cpo' or 'simpo' .given: 'ppo'"),
        ({"scheduler": "cosin"}, "field 'scheduler': should be 'cosine'.*given: 'cosin'"),
        ({"learning_rate": 0.0}, "field 'learning_rate': should be greater than 0 .given: '0.0'"),
        ({"learning_rate": math.nan}, "'learning_rate': should be a finite number"),
        ({"epochs": math.inf}, "'epochs': should be a finite number"),
        ({"beta": math.inf}, "'beta': should be a finite number"),
        ({"batch_size": -1}, "'batch_size': should be greater than or equal to 1"),
        ({"warmup_ratio": 1.0}, "'warmup_ratio': should be less than 1"),
        ({"warmup_steps": -1}, "'warmup_steps': should be greater than or equal to 0"),
        ({"weight_decay": -0.1}, "'weight_decay': should be greater than or equal to 0"),
        ({"weight_decay": math.inf}, "'weight_decay': should be a finite number"),
        ({"max_length": 1}, "'max_length': should be greater than or equal to 2"),
        ({"momentum": 0.9}, "'momentum': Extra inputs are not permitted"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        changed(SETTINGS, **change)
