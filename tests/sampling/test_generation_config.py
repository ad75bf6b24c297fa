"""Settings of a base's generation_config.json that an experiment names: `model.generate` with them is the oracle."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import torch
from huggingface_hub.errors import RemoteEntryNotFoundError

from tests.tiny import BASES, write_experiment
from w2s_core.engine import Handle, Store, run_graph
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.models import load_model
from w2s_core.prompting import zero_shot
from w2s_core.recipes.recipe import Answerer, answer
from w2s_core.rows import read_rows
from w2s_core.runs import Graph, build_graph
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.sampling.generation_config import read_settings
from w2s_core.sampling.noise import row_keys, uniforms
from w2s_core.sampling.vllm_engine import VllmEngine
from w2s_core.steps.data import questions
from w2s_core.steps.train import sft

from .test_greedy import DEMONSTRATIONS, LIMIT, by_generate, mixed_prompts

# what `generate` is asked beside the settings, and what the engine is
TEMPERATURE, SEED, SAMPLES = 0.7, 3, 2


@pytest.mark.parametrize("prefix", ["", DEMONSTRATIONS], ids=["zero-shot", "few-shot"])
@pytest.mark.parametrize("architecture", ["llama-grouped", "mistral-sliding", "qwen2-mixed"])
def test_greedy_equals_generate_of_a_base_that_ships_a_penalty(
    architecture: str, prefix: str, model_of: Any, tokenizer: Any
) -> None:
    prompts, shipped = mixed_prompts(), model_of(architecture)
    shipped.generation_config.repetition_penalty = 1.3
    expected = [by_generate(shipped, tokenizer, prefix + text) for _, text in prompts]
    plain = [by_generate(model_of(architecture), tokenizer, prefix + text) for _, text in prompts]
    assert sum(a == b for a, b in zip(expected, plain, strict=True)) < len(prompts) // 2
    for batch_size in (1, 5, 64):
        engine = TransformersEngine(model_of(architecture), tokenizer, batch_size=batch_size)
        params = SamplingParams(LIMIT, stop=(), repetition_penalty=1.3, top_k=2, top_p=0.2, min_p=0.9)
        responses = engine.generate(prompts, params, prefix=prefix)
        assert [(response.text, response.tokens) for [response] in responses] == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.3},
        {"top_k": 5},
        {"top_p": 0.7},
        {"min_p": 0.2},
        {"repetition_penalty": 1.3, "top_k": 9, "top_p": 0.8, "min_p": 0.15},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("architecture", ["llama", "qwen2-mixed"])
def test_samples_equal_those_of_generate_from_the_same_noise(
    architecture: str, settings: dict[str, Any], model_of: Any, tokenizer: Any, monkeypatch: Any
) -> None:
    """`generate` draws by `torch.multinomial`, which here inverts the distribution at the engine's own noise."""
    prompts = mixed_prompts(6)
    params = SamplingParams(LIMIT, SAMPLES, TEMPERATURE, SEED, (), **settings)
    responses = TransformersEngine(model_of(architecture), tokenizer).generate(prompts, params)
    plain = TransformersEngine(model_of(architecture), tokenizer).generate(
        prompts, SamplingParams(LIMIT, SAMPLES, TEMPERATURE, SEED, ())
    )
    assert responses != plain
    noise: Iterator[float] = iter(())

    def multinomial(shares: torch.Tensor, num_samples: int) -> torch.Tensor:
        assert num_samples == 1
        bounds = shares[0].double().cumsum(0)
        return (bounds > next(noise) * bounds[-1]).nonzero()[:1]

    monkeypatch.setattr(torch, "multinomial", multinomial)
    oracle = model_of(architecture)
    for (name, text), row in zip(prompts, responses, strict=True):
        ids = torch.tensor([tokenizer(text).input_ids])
        for number, response in enumerate(row):
            noise = iter(uniforms(row_keys(SEED, [(name, number)]), LIMIT)[0].tolist())
            written = oracle.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=LIMIT,
                do_sample=True,
                temperature=TEMPERATURE,
                **{"top_k": 0, **settings},
            )[0, ids.shape[1] :]
            assert tokenizer.decode(written, skip_special_tokens=True).strip() == response.text
            assert len(written) == response.tokens


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"repetition_penalty": 0}, "repetition_penalty must be a positive number (1 = none), not 0"),
        ({"repetition_penalty": -1.5}, "repetition_penalty must be a positive number (1 = none), not -1.5"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty must be a positive number (1 = none), not nan"),
        ({"repetition_penalty": "1.3"}, 'repetition_penalty must be a number, not "1.3"'),
        ({"top_k": True}, "top_k must be a number, not true"),
        ({"top_k": 2.5}, "top_k must be a whole number of tokens (0 = all), not 2.5"),
        ({"top_k": float("inf")}, "top_k must be a whole number of tokens (0 = all), not inf"),
        ({"top_k": -1}, "top_k must be a whole number of tokens (0 = all), not -1"),
        ({"top_p": 0}, "top_p must be above 0 and at most 1 (1 = all tokens), not 0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1 (1 = all tokens), not 1.1"),
        ({"min_p": -0.1}, "min_p must be from 0 (all tokens) to 1, not -0.1"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_one_line(
    setting: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(setting))
    with pytest.raises(UserError) as caught:
        read_settings("sha256:0", str(tmp_path), tuple(setting))  # type: ignore[arg-type]
    assert str(caught.value) == f"{path}: {complaint}"
    path.write_text(json.dumps(setting | {"min_p": None}))
    assert read_settings("sha256:0", str(tmp_path), ("min_p",)) == {}, "only what is named is read"


@pytest.mark.parametrize(
    ("content", "complaint"), [("[1]", "expected a JSON object"), ("{", "not valid JSON (Expecting")]
)
def test_a_damaged_file_is_one_line(content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(UserError) as caught:
        read_settings("sha256:0", str(tmp_path), ("top_k",))
    assert str(caught.value).startswith(f"{tmp_path / 'generation_config.json'}: {complaint}")


def test_settings_of_a_hub_model_are_those_of_its_commit(tmp_path: Path, monkeypatch: Any) -> None:
    asked = []
    (tmp_path / "at-commit.json").write_text('{"top_p": 0.8, "do_sample": true}')

    def download(name: str, file: str, revision: str) -> str:
        asked.append((name, file, revision))
        if name == "org/without":
            request = httpx2.Request("GET", "https://hub")
            raise RemoteEntryNotFoundError("404", response=httpx2.Response(404, request=request))
        return str(tmp_path / "at-commit.json")

    with pytest.raises(
        UserError, match=r"^org/model@abc: its generation_config.json: it is not in the cache"
    ):
        read_settings("hub:org/model@abc", "org/model", ("top_p",))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert read_settings("hub:org/model@abc", "org/model", ("top_p", "top_k")) == {"top_p": 0.8}
    assert asked == [("org/model", "generation_config.json", "abc")]
    with pytest.raises(
        UserError, match=r"^org/without@abc: it has no generation_config.json, whose settings"
    ):
        read_settings("hub+code:org/without@abc", "org/without", ("top_p",))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """An experiment whose two bases lie beside it, in folders that a test may change."""
    for name, base in (("weak", "llama"), ("strong", "strong")):
        shutil.copytree(BASES / base, tmp_path / name)
    return write_experiment(tmp_path, weak="weak", strong="strong")


def ship(lab: Path, **settings: Any) -> None:
    """Write a generation_config.json beside both bases."""
    for name in ("weak", "strong"):
        (lab.parent / name / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, **settings}))


def planned(lab: Path, *names: str) -> Graph:
    return build_graph(load_experiment(lab, (f"generation_config=[{', '.join(names)}]",)), "cpu")


def steps(graph: Graph, name: str) -> list[Handle]:
    return [handle for handle in topological(graph.targets.values()) if handle.name == name]


def test_a_setting_that_is_not_named_changes_no_key_and_one_that_is_changes_those_of_responses(
    lab: Path,
) -> None:
    ship(lab)
    before = planned(lab)
    assert "generation_config" not in before.experiment.model_dump(), "records are as before the field"
    ship(lab, repetition_penalty=1.3, top_k=20, temperature=0.6, no_repeat_ngram_size=2)
    for graph in (planned(lab), planned(lab, "min_p")):
        assert graph.targets == before.targets
        assert graph.models == before.models
    penalised, cut = planned(lab, "repetition_penalty"), planned(lab, "top_k", "top_p")
    assert penalised.models == cut.models == before.models
    for step in steps(penalised, "sample"):
        shape = {"temperature": 1.0 if "n" in step.params else 0.0, "repetition_penalty": 1.3}
        assert step.params["temperature"] == shape
    for step in steps(cut, "sample"):
        drawn_from = {"temperature": 1.0, "top_k": 20} if "n" in step.params else None
        assert step.params.get("temperature") == drawn_from
    greedy, drawn = "greedy/test/zero_shot", "samples/test/ceiling"
    assert penalised.targets[greedy] != before.targets[greedy] == cut.targets[greedy]
    assert len({graph.targets[drawn].key for graph in (before, penalised, cut)}) == 3
    ceilings = [
        graph.targets[drawn].inputs["responses"].inputs["model"] for graph in (before, penalised, cut)
    ]
    assert ceilings[0] == ceilings[1] == ceilings[2], "a training on gold answers stays what it is"
    ship(lab, repetition_penalty=1.4, top_k=20)
    assert planned(lab, "repetition_penalty").targets[greedy] != penalised.targets[greedy]
    assert planned(lab, "top_k").targets == cut.targets
    ship(lab, repetition_penalty=1.0, top_k=0, top_p=1, min_p=0.0)
    neutral = planned(lab, "repetition_penalty", "top_k", "top_p", "min_p")
    assert neutral.targets == before.targets, "what changes nothing is in no key"


def test_each_model_follows_the_base_that_it_was_trained_from(lab: Path) -> None:
    ship(lab)
    (lab.parent / "weak" / "generation_config.json").write_text('{"repetition_penalty": 1.2}')
    graph = planned(lab, "repetition_penalty")
    follows = {
        label: target.inputs["responses"].params.get("temperature")
        for label, target in graph.targets.items()
        if label.startswith("greedy/")
    }
    assert follows.pop("greedy/test/weak_floor") == {"temperature": 0.0, "repetition_penalty": 1.2}
    assert set(map(str, follows.values())) == {"None"}


def test_what_cannot_be_honoured_is_refused_when_it_is_planned(lab: Path) -> None:
    (lab.parent / "strong" / "generation_config.json").unlink(missing_ok=True)
    (lab.parent / "weak" / "generation_config.json").write_text("{}")
    with pytest.raises(UserError, match=rf"^{lab.parent / 'strong'}: it has no generation_config.json"):
        planned(lab, "top_k")
    with pytest.raises(
        UserError, match=r"should be 'repetition_penalty', 'top_k', 'top_p' or 'min_p' \(given: 'typi"
    ):
        planned(lab, "typical_p")
    experiment = load_experiment(lab, ("generation_config=[top_k]",))
    adapter = {"questions": None, "responses": None, "settings": {}, "seed": 0}
    stray = Handle(sft, adapter, {}, {})
    with pytest.raises(
        UserError, match=r"^generation_config: sft\(.*\) stands on none of the experiment's base"
    ):
        answer(experiment, Answerer(stray), questions(source={}, split="test", digest="0"))


def test_vllm_gets_the_settings_or_they_are_refused(lab: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("w2s_core.experiment.vllm_version", lambda: "0.0")
    lab = write_experiment(lab.parent, weak="weak", strong="strong", engine="vllm")
    ship(lab, repetition_penalty=1.3, top_p=0.9, min_p=0.1)
    assert planned(lab, "repetition_penalty", "top_p")
    with pytest.raises(UserError, match=r"^generation_config: vLLM applies min_p before top_p"):
        planned(lab, "top_p", "min_p")
    asked: list[Any] = []
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=lambda **given: given))
    engine = object.__new__(VllmEngine)
    engine._request = None
    engine._llm = SimpleNamespace(
        generate=lambda inputs, sampling, **_: asked.extend(sampling) or [SimpleNamespace(outputs=[])]
    )
    settings = {"repetition_penalty": 1.3, "top_k": 7, "top_p": 0.9, "min_p": 0.1}
    engine._batch({0: [0]}, ["q"], [[1]], SamplingParams(5, **settings))  # type: ignore[arg-type]
    assert {name: asked[0][name] for name in settings} == settings


def test_a_run_records_and_applies_what_it_used(lab: Path) -> None:
    ship(lab, repetition_penalty=1.3)
    graph = planned(lab, "repetition_penalty")
    handle = graph.targets["greedy/test/zero_shot"].inputs["responses"]
    store = Store(lab.parent / "store")
    run_graph({"responses": handle}, store, runtime={"bases": graph.bases, "device": "cpu"})
    shape = store.manifest(handle.key)["spec"]["params"]["temperature"]
    assert shape == {"temperature": 0.0, "repetition_penalty": 1.3}
    rows = {row["id"]: row["responses"] for row in read_rows(store.path(handle.key) / "rows.parquet")}
    problems = graph.splits.problems["test"]
    prompts = [(problem.id, zero_shot(problem.question)) for problem in problems]
    base = store.path(handle.inputs["model"].key)
    written = {}
    for penalty in (1.0, 1.3):
        engine = TransformersEngine(*load_model(base, graph.bases))
        params = SamplingParams(graph.experiment.max_new_tokens, repetition_penalty=penalty)
        responses = engine.generate(prompts, params)
        written[penalty] = {name: [row[0].text] for (name, _), row in zip(prompts, responses, strict=True)}
    assert rows == written[1.3] != written[1.0]
