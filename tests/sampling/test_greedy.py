"""Greedy responses equal those of `model.generate`, token for token."""

import random
from typing import Any

import pytest
import torch

from w2s_core.prompting import few_shot_prefix, zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine, decoding

from .conftest import ARCHITECTURES, EOS

LIMIT = 24
DEMONSTRATIONS = few_shot_prefix([("how many", "1 2 3"), ("and now", "4 5"), ("so", "6")])


def mixed_prompts(count: int = 10) -> list[tuple[str, str]]:
    """Prompts of very different lengths, two of them equal."""
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcdefgh 123", k=rng.choice([1, 2, 5, 11, 30]))) for _ in range(count - 1)]
    return [(f"q{i}", zero_shot(text)) for i, text in enumerate([*texts, texts[0]])]


def by_generate(model: Any, tokenizer: Any, text: str) -> tuple[str, int]:
    """The oracle: text and number of tokens of one prompt's response, alone in its batch."""
    ids = torch.tensor([tokenizer(text).input_ids])
    made = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=LIMIT, do_sample=False
    )
    made = made[0, ids.shape[1] :]
    return tokenizer.decode(made, skip_special_tokens=True).strip(), len(made)


@pytest.mark.parametrize("prefix", ["", DEMONSTRATIONS], ids=["zero-shot", "few-shot"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_generate(architecture: str, prefix: str, model_of: Any, tokenizer: Any) -> None:
    prompts = mixed_prompts()
    oracle = model_of(architecture)
    oracle.set_attn_implementation("eager")  # the only one that knows Gemma 2's soft cap
    expected = [by_generate(oracle, tokenizer, prefix + text) for _, text in prompts]
    assert len(set(expected)) > len(prompts) // 2, (
        "the random model says too little for this test to mean much"
    )
    for batch_size in (1, 5, 64):
        engine = TransformersEngine(model_of(architecture), tokenizer, batch_size=batch_size)
        made = engine.generate(prompts, SamplingParams(LIMIT, stop=()), prefix=prefix)
        assert [(one.text, one.tokens) for [one] in made] == expected


@pytest.mark.parametrize("prefix", ["", DEMONSTRATIONS], ids=["zero-shot", "few-shot"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_prompts_prefilled_in_parts_equal_those_prefilled_at_once(
    architecture: str, prefix: str, model_of: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(model_of(architecture), tokenizer)
    params = SamplingParams(LIMIT, stop=(), n=2)
    at_once = engine.generate(mixed_prompts(), params, prefix=prefix)
    for tokens in (1, 64, 150):
        monkeypatch.setattr(decoding, "_PREFILL_TOKENS", tokens)
        assert engine.generate(mixed_prompts(), params, prefix=prefix) == at_once


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_copies_are_equal(architecture: str, model_of: Any, tokenizer: Any) -> None:
    """All n rows of a prompt go through the shared prompt: at temperature 0 each equals the single one."""
    prompts = mixed_prompts()
    engine = TransformersEngine(model_of(architecture), tokenizer, batch_size=10)
    single = engine.generate(prompts, SamplingParams(LIMIT), prefix=DEMONSTRATIONS)
    copies = engine.generate(prompts, SamplingParams(LIMIT, n=3), prefix=DEMONSTRATIONS)
    assert copies == [[one] * 3 for [one] in single]


def test_shortest_prompts(model_of: Any, tokenizer: Any) -> None:
    """Prompts of a single token leave nothing to prefill, with longer ones beside them or not."""
    prompts = [("one", "a"), ("two", "b"), ("long", "abc def")]
    expected = [by_generate(model_of("llama"), tokenizer, text) for _, text in prompts]
    for chosen in (slice(2), slice(3)):
        made = TransformersEngine(model_of("llama"), tokenizer).generate(
            prompts[chosen], SamplingParams(LIMIT, stop=())
        )
        assert [(one.text, one.tokens) for [one] in made] == expected[chosen]


def test_every_end_is_named(model_of: Any, tokenizer: Any) -> None:
    model = model_of("llama")
    engine = TransformersEngine(model, tokenizer)
    ends = {
        one.finish: one for [one] in engine.generate(mixed_prompts(60), SamplingParams(LIMIT, stop=("a",)))
    }
    assert set(ends) == {"eos", "stop", "length"}
    assert "a" not in ends["stop"].text
    assert ends["length"].tokens == LIMIT


def test_nothing_else_of_a_generation_config_is_used(model_of: Any, tokenizer: Any) -> None:
    """Instruct models ship such settings; `generate` applies them, and the responses are then others."""
    prompts, plain, shipped = mixed_prompts(), model_of("llama"), model_of("llama")
    shipped.generation_config.update(
        repetition_penalty=1.8, no_repeat_ngram_size=2, min_new_tokens=9, top_k=1, top_p=0.1, temperature=0.1
    )
    assert [by_generate(shipped, tokenizer, text) for _, text in prompts] != [
        by_generate(plain, tokenizer, text) for _, text in prompts
    ]
    for params in (SamplingParams(LIMIT), SamplingParams(LIMIT, n=2, temperature=1.0)):
        expected = TransformersEngine(plain, tokenizer).generate(prompts, params)
        assert TransformersEngine(shipped, tokenizer).generate(prompts, params) == expected


def test_generation_config_adds_ends(model_of: Any, tokenizer: Any) -> None:
    model = model_of("llama")
    plain = TransformersEngine(model, tokenizer).generate(mixed_prompts(), SamplingParams(LIMIT, stop=()))
    [first] = tokenizer(plain[0][0].text[0]).input_ids
    model.generation_config.eos_token_id = [EOS, first]
    made = TransformersEngine(model, tokenizer).generate(mixed_prompts(), SamplingParams(LIMIT, stop=()))
    assert (made[0][0].tokens, made[0][0].finish) == (1, "eos")
