"""Sampling draws from the model's distribution, and a draw depends on nothing but its own question and number."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_core.prompting import encode_prompt, few_shot_prefix, zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.sampling.decoding import draw
from w2s_core.sampling.noise import row_keys, splitmix64, uniforms

# Quantiles of the chi-square distribution that a right sampler exceeds once in 10,000 tests, by degrees of freedom
# (Wilson and Hilferty's approximation).
Z = 3.719


def chi_square_limit(freedom: int) -> float:
    return float(freedom * (1 - 2 / (9 * freedom) + Z * (2 / (9 * freedom)) ** 0.5) ** 3)


@pytest.fixture(scope="module")
def prompts() -> list[tuple[str, str]]:
    rng = random.Random(2)
    return [
        (f"q{i}", zero_shot("".join(rng.choices("abcdef ", k=rng.choice([1, 3, 9, 20]))))) for i in range(8)
    ]


@pytest.mark.parametrize("prefix", ["", few_shot_prefix([("why", "1 2 3 4"), ("what", "5")])])
@pytest.mark.parametrize("architecture", ["llama-grouped", "mistral-sliding"])
def test_batch_size_order_and_company_change_nothing(
    architecture: str, prefix: str, prompts: list[tuple[str, str]], model_of: Any, tokenizer: Any
) -> None:
    def sample(asked: list[tuple[str, str]], batch_size: int, n: int = 4) -> dict[str, Any]:
        engine = TransformersEngine(model_of(architecture), tokenizer, batch_size=batch_size)
        params = SamplingParams(12, n=n, temperature=1.0, seed=3)
        made = engine.generate(asked, params, prefix=prefix)
        return {name: row for (name, _), row in zip(asked, made, strict=True)}

    expected = sample(prompts, 64)
    assert len({one.text for row in expected.values() for one in row}) > 20
    for batch_size in (1, 7):
        assert sample(prompts, batch_size) == expected
    shuffled = random.Random(0).sample(prompts, len(prompts))
    assert sample(shuffled, 10) == expected
    some = shuffled[:4]
    assert sample(some, 16) == {name: expected[name] for name, _ in some}
    assert sample(prompts, 64, n=2) == {name: row[:2] for name, row in expected.items()}


def test_seed_and_question_decide(prompts: list[tuple[str, str]], model_of: Any, tokenizer: Any) -> None:
    engine = TransformersEngine(model_of("llama"), tokenizer)
    text = prompts[0][1]
    first = engine.generate([("a", text), ("b", text)], SamplingParams(20, n=4, temperature=1.0, seed=0))
    other = engine.generate([("a", text)], SamplingParams(20, n=4, temperature=1.0, seed=1))
    texts = [one.text for row in (*first, *other) for one in row]
    assert len(set(texts)) == 12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_distribution(temperature: float, model_of: Any, tokenizer: Any) -> None:
    """Chi-square of 4,000 first tokens against the softmax of the logits at that temperature."""
    model, count = model_of("llama"), 4000
    text = zero_shot("abc")
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([encode_prompt(tokenizer, text)])).logits[0, -1].double()
    expected = torch.softmax(logits / temperature, -1).numpy() * count
    params = SamplingParams(1, n=20, temperature=temperature, stop=())
    made = TransformersEngine(model, tokenizer, batch_size=1000).generate(
        [(f"id{i}", text) for i in range(count // 20)], params
    )
    seen: dict[str, int] = {}
    for row in made:
        for one in row:
            seen[one.text] = seen.get(one.text, 0) + 1
    # Tokens that show as the same text (white space, special tokens) are counted together, and rare ones too.
    bins: dict[str, float] = {}
    for token, share in enumerate(expected):
        shown = tokenizer.decode([token], skip_special_tokens=True).strip()
        bins[shown] = bins.get(shown, 0.0) + share
    common = [shown for shown, share in bins.items() if share >= 5]
    rare = count - sum(bins[shown] for shown in common)
    rare_seen = count - sum(seen.get(shown, 0) for shown in common)
    statistic = sum((seen.get(shown, 0) - bins[shown]) ** 2 / bins[shown] for shown in common)
    statistic += (rare_seen - rare) ** 2 / max(rare, 1.0)
    assert len(common) > 3
    assert statistic < chi_square_limit(len(common))


@settings(deadline=None)
@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12), st.floats(0, 1, exclude_max=True))
def test_draw_inverts_the_distribution(logits: list[float], noise: float) -> None:
    """The token's share holds the noise, and no token without a share is ever drawn."""
    [token] = draw(torch.tensor([logits]), 0.7, torch.tensor([noise], dtype=torch.float64)).tolist()
    shares = torch.softmax(torch.tensor([logits]).float() / 0.7, -1)[0].double()
    total = shares.sum()
    below = shares[:token].sum() / total
    assert shares[token] > 0
    assert below - 1e-9 <= noise <= below + shares[token] / total + 1e-9


def test_impossible_tokens_are_not_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(3, -1)
    assert draw(logits, 1.0, torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 1, 1]


def test_noise_is_splitmix64() -> None:
    """The first outputs of the reference generator with seed 0 (Vigna, splitmix64.c)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(x * 2**53) for x in uniforms(np.zeros(1, np.uint64), 3)[0]] == [x >> 11 for x in expected]
    assert splitmix64(np.array([0x9E3779B97F4A7C15], np.uint64)).tolist() == expected[:1]


def test_noise_is_uniform_and_independent() -> None:
    keys = row_keys(7, [(f"q{i}", number) for i in range(200) for number in range(10)])
    noise = uniforms(keys, 50)
    assert noise.shape == (2000, 50)
    counts = np.bincount((noise * 100).astype(int).ravel(), minlength=100)
    assert ((counts - 1000) ** 2 / 1000).sum() < chi_square_limit(99)
    # Four standard errors of a correlation of 100,000 pairs: neighbours in position, and in sample number.
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 4 / 300
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 4 / 300
    assert np.array_equal(uniforms(keys[5:6], 20)[0], noise[5, :20])
