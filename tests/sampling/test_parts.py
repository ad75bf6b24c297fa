"""The parts of the engine, each against its plain definition; limits and errors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_core.errors import UserError
from w2s_core.prompting import encode_prompt, few_shot_prefix, zero_shot
from w2s_core.sampling import Generation, SamplingParams, TransformersEngine
from w2s_core.sampling.cache import Moves, Shared
from w2s_core.sampling.decoding import Batch, _parts
from w2s_core.sampling.masks import layer_kinds
from w2s_core.sampling.stopping import MAY_STOP, Stopping
from w2s_core.sampling.transformers_engine import common_length

PROMPTS = [(f"q{i}", zero_shot("ab"[: 1 + i % 2] * (1 + i))) for i in range(9)]


@settings(deadline=None)
@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_moves_keep_the_live_ones(case: tuple[int, set[int]]) -> None:
    places, ended = case
    moves = Moves.closing(places, ended, "cpu")
    kept = moves.apply(torch.arange(places)).tolist()
    assert sorted(kept) == sorted(set(range(places)) - ended)
    assert len(moves.to) <= len(ended), "a row that can stay is not moved"


@given(st.lists(st.integers(1, 60), min_size=1), st.integers(1, 200))
def test_parts_hold_every_prompt_once_and_no_more_tokens_than_asked(lengths: list[int], tokens: int) -> None:
    prompts = [(number,) * length for number, length in enumerate(sorted(lengths, reverse=True))]
    parts = list(_parts(prompts, tokens))
    assert [prompt for part in parts for prompt in part] == prompts
    for part in parts:
        assert len(part) * max(map(len, part)) <= tokens or len(part) == 1


@settings(deadline=None)
@given(st.data())
def test_shared_groups_follow_their_rows(data: st.DataObject) -> None:
    """Products with grouped keys and values equal those with a copy a row, while rows end in any order."""
    groups, width, heads, slots, size = 4, data.draw(st.integers(1, 3)), 2, 3, 5
    seats = [(g, k) for g in range(groups) for k in range(width)]
    if width > 1:  # a prompt whose samples stand partly in another batch
        seats = seats[data.draw(st.integers(0, width - 1)) :]
    keys, values = torch.randn(groups, heads, size, slots), torch.randn(groups, heads, slots, size)
    original = (keys.clone(), values.clone())
    shared = Shared([(keys, values)], width, torch.tensor(seats) if width > 1 else None)
    row_groups = torch.tensor([group for group, _ in seats])
    while len(row_groups):
        queries, weights = (
            torch.randn(len(row_groups), heads, 2, size),
            torch.rand(len(row_groups), heads, 2, slots),
        )
        expected = queries @ original[0][row_groups]
        torch.testing.assert_close(shared.scores(0, queries), expected)
        torch.testing.assert_close(shared.mix(0, weights), weights @ original[1][row_groups])
        rows = range(len(row_groups))
        ended = data.draw(st.sets(st.sampled_from(rows), min_size=1))
        moves = Moves.closing(len(rows), ended, "cpu")
        row_groups = moves.apply(row_groups)
        shared.shrink(moves)


def test_one_group_for_all_rows() -> None:
    keys, values = torch.randn(1, 2, 5, 7), torch.randn(1, 2, 7, 5)
    shared = Shared([(keys, values)], 0, None)
    queries, weights = torch.randn(6, 2, 3, 5), torch.rand(6, 2, 3, 7)
    torch.testing.assert_close(shared.scores(0, queries), queries @ keys)
    torch.testing.assert_close(shared.mix(0, weights), weights @ values)


def test_prefix_is_tokenised_with_the_prompt(tokenizer: Any) -> None:
    """The shared tokens and the rest of each prompt are the tokens of the whole text."""
    prefix = few_shot_prefix([("ab", "1 2 3"), ("c", "4 5 6")])
    encoded = [encode_prompt(tokenizer, prefix + text) for _, text in PROMPTS]
    common = common_length(encoded)
    assert common >= len(encode_prompt(tokenizer, prefix))
    assert all(ids[:common] == encoded[0][:common] and len(ids) > common for ids in encoded)
    assert common_length([list(range(40))] * 2) == 39, "each prompt keeps a token of its own"
    assert common_length([[1, 2], [1, 3]]) == 0, "too little to be worth sharing"


class TestStopping:
    def make(self, tokenizer: Any, *stop: str) -> Stopping:
        return Stopping(tokenizer, [tokenizer.eos_token_id], stop, len(tokenizer), "cpu")

    def test_only_tokens_with_its_last_character_may_complete_a_stop(self, tokenizer: Any) -> None:
        kinds = self.make(tokenizer, "\nQuestion:").kinds
        assert (kinds == MAY_STOP).nonzero().flatten().tolist() == tokenizer(":").input_ids

    def test_stop_that_ends_in_white_space_is_looked_for_everywhere(self, tokenizer: Any) -> None:
        stopping = self.make(tokenizer, "a\n")
        [newline] = tokenizer("\n").input_ids
        assert stopping.kinds[newline] == MAY_STOP

    def test_text_is_cut_at_the_first_stop(self, tokenizer: Any) -> None:
        stopping = self.make(tokenizer, "\nQuestion:", "#")
        ids = tokenizer(" a b\nQuestion: # c").input_ids
        [made] = stopping.generations([ids], [False])
        assert made == Generation("a b", len(ids), "stop")

    def test_completes_across_tokens(self, tokenizer: Any) -> None:
        stopping = self.make(tokenizer, "\nQuestion:")
        assert stopping.completes(tokenizer("x\nQuestion:").input_ids)
        assert not stopping.completes(tokenizer("x\nQuestion").input_ids)

    def test_special_tokens_do_not_show(self, tokenizer: Any) -> None:
        [made] = self.make(tokenizer).generations([[*tokenizer("a").input_ids, 0, 1]], [True])
        assert made == Generation("a", 3, "eos")


def test_the_token_that_completes_a_stop_is_the_last(model_of: Any, tokenizer: Any) -> None:
    """Against the whole responses: cut where the stop stands, and exactly as long as it takes to write it."""
    engine = TransformersEngine(model_of("llama"), tokenizer, batch_size=4)
    whole = engine.generate(PROMPTS, SamplingParams(40, stop=()))
    stop = whole[0][0].text[3:5]
    stopped = engine.generate(PROMPTS, SamplingParams(40, stop=(stop,)))
    assert stopped[0][0].finish == "stop"
    for [one], [cut] in zip(whole, stopped, strict=True):
        if cut.finish == "stop":
            assert cut.text == one.text.partition(stop)[0].strip()
            assert cut.tokens <= one.tokens
        else:
            assert cut == one


def test_progress_counts_up_to_all(model_of: Any, tokenizer: Any) -> None:
    seen: list[tuple[int, int, str]] = []
    engine = TransformersEngine(model_of("llama"), tokenizer, batch_size=4)
    engine.generate(PROMPTS, SamplingParams(12, n=2), progress=lambda *call: seen.append(call))
    done = [call[0] for call in seen]
    assert done == sorted(done)
    assert seen[-1] == (18, 18, "responses")


def full_gpu() -> None:
    raise torch.OutOfMemoryError("no memory left")


def full_cpu() -> None:
    torch.empty(10**14)  # 400 TB, which no machine has


@pytest.mark.parametrize("full", [full_gpu, full_cpu])
def test_out_of_memory_halves_the_batch(
    model_of: Any,
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    full: Callable[[], None],
) -> None:
    engine = TransformersEngine(model_of("llama"), tokenizer, batch_size=8)
    expected = engine.generate(PROMPTS, SamplingParams(12))
    run, most = Batch.run, [3]

    def scarce(self: Batch, finished: Any) -> list[Generation]:
        if len(self.item) > most[0]:
            full()
        return run(self, finished)

    monkeypatch.setattr(Batch, "run", scarce)
    assert engine.generate(PROMPTS, SamplingParams(12)) == expected
    assert engine.batch_size == 2
    assert "out of memory with 8 responses at once; going on with 4" in caplog.text
    most[0] = 0
    with pytest.raises(UserError, match="with a single response"):
        engine.generate(PROMPTS, SamplingParams(12))


def test_another_error_is_no_lack_of_memory(
    model_of: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Batch, finished: Any) -> list[Generation]:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Batch, "run", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        TransformersEngine(model_of("llama"), tokenizer).generate(PROMPTS, SamplingParams(12))


def test_no_prompts(model_of: Any, tokenizer: Any) -> None:
    assert TransformersEngine(model_of("llama"), tokenizer).generate([], SamplingParams(5)) == []


def test_context_too_short_names_the_question(model_of: Any, tokenizer: Any) -> None:
    engine = TransformersEngine(model_of("llama"), tokenizer)
    fits = 512 - len(encode_prompt(tokenizer, PROMPTS[8][1]))
    assert engine.generate(PROMPTS[8:], SamplingParams(fits))
    with pytest.raises(
        UserError, match=rf"question 'q8': .* max_new_tokens = {fits + 1} exceed .* 512 tokens"
    ):
        engine.generate(PROMPTS[8:], SamplingParams(fits + 1))


def test_empty_prompt_names_the_question(model_of: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="question 'void': its prompt is empty"):
        TransformersEngine(model_of("llama"), tokenizer).generate([("void", "")], SamplingParams(5))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"n": 0}, "samples a prompt"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"stop": ("",)}, "empty stop"),
    ],
)
def test_senseless_params(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        SamplingParams(**{"max_new_tokens": 5, **wrong})


def test_unknown_kinds_of_layers_are_refused(model_of: Any) -> None:
    config = model_of("llama").config
    config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(UserError, match="linear_attention"):
        layer_kinds(config)


def test_models_with_their_own_attention_are_refused(model_of: Any, tokenizer: Any) -> None:
    model = model_of("llama")
    model._supports_attention_backend = False
    with pytest.raises(UserError, match="has its own attention"):
        TransformersEngine(model, tokenizer)


def test_batch_size_must_be_positive(model_of: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="batch_size"):
        TransformersEngine(model_of("llama"), tokenizer, batch_size=0)
