"""vLLM against the transformers engine, on the lab's strong model: greedy answers, samples, adapters, a whole run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import BASES, write_experiment
from w2s_core.errors import UserError
from w2s_core.models import base_ref, load_model, locate
from w2s_core.prompting import few_shot_prefix, zero_shot
from w2s_core.sampling import SamplingParams, TransformersEngine
from w2s_core.sampling.unfinished import Unfinished
from w2s_core.tasks import load_task

pytest.importorskip("vllm", reason="vLLM is not installed (`make test-vllm` installs its CPU build apart)")
pytestmark = pytest.mark.vllm

LIMIT = 110
STRONG = BASES / "strong"
"""vLLM's attention on CPUs wants a head size of 32 or more, which the lab's weak models do not have."""


@pytest.fixture(scope="module")
def problems() -> list[Any]:
    task = load_task("mini", {"train_1": 10, "train_2": 10, "dev": 1, "test": 240})
    return [*task.load("test"), *task.load("train_1")]


def write_artifact(folder: Path, adapters: int) -> tuple[Path, dict[str, Path]]:
    """A model artifact over the strong base with random adapters, strong enough to change what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    names = [f"adapters/{number}" for number in range(adapters)]
    for number, name in enumerate(names):
        torch.manual_seed(number)
        lora = LoraConfig(
            r=4, lora_alpha=6 + 2 * number, target_modules="all-linear", init_lora_weights=False
        )
        get_peft_model(AutoModelForCausalLM.from_pretrained(STRONG), lora).save_pretrained(folder / name)
    folder.mkdir(exist_ok=True)
    ref = base_ref(STRONG)
    (folder / "model.json").write_text(json.dumps({"base": ref, "adapters": names}))
    return folder, {ref: STRONG}


def engines(folder: Path, bases: dict[str, Path], work: Path) -> tuple[Any, Any]:
    from w2s_core.sampling.vllm_engine import VllmEngine

    model, tokenizer = load_model(folder, bases)
    ours = TransformersEngine(model, tokenizer, batch_size=256)
    return ours, VllmEngine(locate(folder, bases), tokenizer, device="cpu", work=work)


def prompts_of(problems: list[Any]) -> list[tuple[str, str]]:
    return [(one.id, zero_shot(one.question)) for one in problems]


@pytest.mark.parametrize("adapters", [0, 1, 2])
def test_greedy_answers_agree(adapters: int, problems: list[Any], tmp_path: Path) -> None:
    """Token for token but for near-ties, which are reported; adapters count, alone or put together."""
    ours, theirs = engines(*write_artifact(tmp_path / "artifact", adapters), tmp_path)
    prompts = prompts_of(problems[:240])
    shown = few_shot_prefix([(one.question, one.solution) for one in problems[240:243]])
    params = SamplingParams(LIMIT)
    expected, made = (engine.generate(prompts, params, prefix=shown) for engine in (ours, theirs))
    same = sum(a == b for a, b in zip(expected, made, strict=True))
    print(f"{same} of {len(prompts)} answers the same, with {adapters} adapters")
    assert same >= 0.97 * len(prompts)
    if adapters:
        plain, _ = engines(*write_artifact(tmp_path / "plain", 0), tmp_path)
        without = plain.generate(prompts[:40], params, prefix=shown)
        assert sum(a == b for a, b in zip(without, made, strict=False)) < 30, "the adapters change nothing"


def test_samples_follow_the_same_distribution(problems: list[Any], tmp_path: Path) -> None:
    """Answers of one engine equal those of the other as often as its own: engines are permuted within questions."""
    both = engines(*write_artifact(tmp_path / "artifact", 0), tmp_path)
    params = SamplingParams(LIMIT, n=10, temperature=1.0, seed=3)
    drawn = [engine.generate(prompts_of(problems[:60]), params) for engine in both]
    texts = [([one.text for one in a], [one.text for one in b]) for a, b in zip(*drawn, strict=True)]
    assert sum(len(set(a)) > 1 for a, _ in texts) > 20, "too sure for this test to mean much"

    def across(split: list[tuple[list[str], list[str]]]) -> int:
        return sum(one == other for a, b in split for one in a for other in b)

    observed, rng, lower = across(texts), random.Random(0), 0
    for _ in range(400):
        shuffled = []
        for a, b in texts:
            pooled = [*a, *b]
            rng.shuffle(pooled)
            shuffled.append((pooled[: len(a)], pooled[len(a) :]))
        lower += across(shuffled) <= observed
    print(f"p = {(lower + 1) / 401:.3f} that the engines differ by chance alone")
    assert (lower + 1) / 401 > 0.005


def test_settings_of_a_generation_config_mean_the_same(problems: list[Any], tmp_path: Path) -> None:
    """A penalty gives the same greedy answers in both engines; of the likeliest token alone, samples are greedy."""
    both = engines(*write_artifact(tmp_path / "artifact", 0), tmp_path)
    prompts = prompts_of(problems[:60])
    plain, _ = (engine.generate(prompts, SamplingParams(LIMIT)) for engine in both)
    penalised, by_vllm = (
        engine.generate(prompts, SamplingParams(LIMIT, repetition_penalty=1.3)) for engine in both
    )
    assert sum(a == b for a, b in zip(penalised, by_vllm, strict=True)) >= 0.95 * len(prompts)
    assert sum(a == b for a, b in zip(penalised, plain, strict=True)) < 0.5 * len(prompts)
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        params = SamplingParams(LIMIT, temperature=1.0, **settings)  # type: ignore[arg-type]
        cut = both[1].generate(prompts, params)
        assert sum(a == b for a, b in zip(cut, plain, strict=True)) >= 0.95 * len(prompts)


def test_samples_repeat_whatever_else_is_asked_and_go_on_after_a_kill(
    problems: list[Any], tmp_path: Path
) -> None:
    _, engine = engines(*write_artifact(tmp_path / "artifact", 0), tmp_path)
    params = SamplingParams(LIMIT, n=3, temperature=1.0, seed=1)
    prompts = prompts_of(problems[:24])
    whole = engine.generate(prompts, params)
    texts = {response.text for responses in whole for response in responses}
    assert len(texts) > len(prompts), "samples of a question differ"
    path = tmp_path / "responses.jsonl"
    before = {(i, number): whole[i][number] for i in range(7) for number in range(3)} | {(7, 0): whole[7][0]}
    Unfinished(path).add(before)
    assert engine.generate(prompts, params, unfinished=path) == whole
    _, *later = path.read_text().splitlines()
    drawn = {(place, number) for line in later for place, number, *_ in json.loads(line)}
    assert drawn == {(i, n) for i in range(len(prompts)) for n in range(3)} - set(before), (
        "only the rest is drawn"
    )
    known = [responses[:1] for responses in whole]
    assert engine.generate(prompts, params, known=known) == whole, "n = 1 is the beginning of n = 3"


def test_long_prompts_and_missing_models_are_one_line(problems: list[Any], tmp_path: Path) -> None:
    from w2s_core.models import Located
    from w2s_core.sampling.vllm_engine import VllmEngine

    _, engine = engines(*write_artifact(tmp_path / "artifact", 0), tmp_path)
    with pytest.raises(
        UserError, match=r"^question 'q': its prompt of \d+ tokens .* exceed the model's context"
    ):
        engine.generate([("q", "one two " * 4000)], SamplingParams(LIMIT))
    with pytest.raises(UserError, match=r"^[^\n]*vLLM cannot load the model[^\n]*$"):
        VllmEngine(Located(str(tmp_path / "none"), None, ()), None, device="cpu", work=tmp_path)


def test_the_whole_method_runs(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from w2s_core.cli.main import w2s
    from w2s_core.engine import Store

    path = write_experiment(tmp_path, engine="vllm", weak=str(STRONG))
    arguments = ["--store", str(tmp_path / "store"), "run", str(path), "--name", "one", "--device", "cpu"]
    done = CliRunner().invoke(w2s, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    store = Store(tmp_path / "store")
    record = store.refs.read("one")
    assert all(store.has(key) for key in record["targets"].values())
    key = next(key for label, key in record["steps"].items() if label == "sample:greedy/test/dpo")
    assert store.manifest(key)["spec"]["params"]["engine"].startswith("vllm ")
