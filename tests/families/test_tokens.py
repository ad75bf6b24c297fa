"""Of every family: prompts, BOS and EOS are the same tokens in training and in sampling."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families.checkpoints import FAMILIES, texts, write_checkpoint
from w2s_core.models import base_ref, load_model
from w2s_core.prompting import (
    TextEncoder,
    adds_bos,
    encode_completion,
    encode_prompt,
    few_shot_prefix,
    zero_shot,
)
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.training.examples import encode_rows

LIMIT = 12


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Any, Any]:
    """A family's name and folder, its model and tokenizer as the pipeline loads them."""
    folder = write_checkpoint(request.param, tmp_path_factory.mktemp("family") / request.param)
    assert len(list(folder.glob("*.safetensors"))) > 1, "sharded, as real ones are"
    ref = base_ref(folder)
    artifact = folder.parent / "artifact"
    artifact.mkdir()
    (artifact / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
    model, tokenizer = load_model(artifact, {ref: folder})
    return request.param, folder, model, tokenizer


def rows(count: int = 20) -> list[dict[str, str]]:
    parts = [text.removeprefix("Question: ").rstrip().partition("\nAnswer: ") for text in texts()[:count]]
    return [{"id": f"q{i}", "question": one, "response": other} for i, (one, _, other) in enumerate(parts)]


def test_special_tokens_are_the_familys(loaded: tuple[str, Path, Any, Any]) -> None:
    name, _, _, tokenizer = loaded
    family = FAMILIES[name]
    assert adds_bos(tokenizer) == family.bos
    assert (tokenizer.pad_token_id is not None) == family.pad
    assert tokenizer.chat_template == family.chat


def test_a_prompt_begins_with_bos_once_and_a_completion_ends_with_eos_once(
    loaded: tuple[str, Path, Any, Any],
) -> None:
    name, _, _, tokenizer = loaded
    for row in rows():
        prompt = encode_prompt(tokenizer, zero_shot(row["question"]))
        told = encode_completion(tokenizer, row["response"])
        assert prompt.count(tokenizer.bos_token_id) == FAMILIES[name].bos
        assert (prompt[0] == tokenizer.bos_token_id) == FAMILIES[name].bos
        assert [i for i, one in enumerate(told) if one == tokenizer.eos_token_id] == [len(told) - 1]
        assert tokenizer.bos_token_id not in told or tokenizer.bos_token_id == tokenizer.eos_token_id


def test_prompt_and_completion_together_spell_the_text(loaded: tuple[str, Path, Any, Any]) -> None:
    *_, tokenizer = loaded
    for row in rows():
        prompt = encode_prompt(tokenizer, zero_shot(row["question"]))
        told = encode_completion(tokenizer, row["response"])
        whole = tokenizer.decode(
            [*prompt, *told], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert whole.strip() == f"{zero_shot(row['question'])} {row['response']}"


def test_training_and_sampling_see_the_same_prompt(loaded: tuple[str, Path, Any, Any]) -> None:
    """What the engine feeds to the model is what the trainer calls the prompt, with and without demonstrations."""
    _, _, model, tokenizer = loaded
    asked = rows(6)
    examples, dropped = encode_rows(TextEncoder(tokenizer), asked, "sft", 1000)
    assert dropped == 0
    seen: list[list[int]] = []
    forward = type(model).forward

    def watched(self: Any, input_ids: Any = None, **more: Any) -> Any:
        seen.append(input_ids.flatten().tolist())
        return forward(self, input_ids=input_ids, **more)

    for row, example in zip(asked, examples, strict=True):
        seen.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(model), "forward", watched)
            engine = TransformersEngine(model, tokenizer, batch_size=1)
            engine.generate([("q", zero_shot(row["question"]))], SamplingParams(1))
        fed = [token for part in seen for token in part]
        assert fed[: len(example.prompt)] == example.prompt


@pytest.mark.parametrize("shots", [0, 2])
def test_greedy_equals_generate(loaded: tuple[str, Path, Any, Any], shots: int) -> None:
    _, _, model, tokenizer = loaded
    shown = few_shot_prefix([(row["question"], row["response"]) for row in rows(shots)]) if shots else ""
    prompts = [(row["id"], zero_shot(row["question"])) for row in rows(10)[shots:]]
    made = TransformersEngine(model, tokenizer, batch_size=4).generate(
        prompts, SamplingParams(LIMIT, stop=()), prefix=shown
    )
    oracle = copy.deepcopy(model)
    oracle.set_attn_implementation("eager")  # the only one that knows Gemma 2's soft cap
    for (_, text), [one] in zip(prompts, made, strict=True):
        ids = torch.tensor([tokenizer(shown + text).input_ids])
        expected = oracle.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=LIMIT, do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )[0, ids.shape[1] :]  # fmt: skip
        assert one.tokens == len(expected)
        assert one.text == tokenizer.decode(expected, skip_special_tokens=True).strip()
