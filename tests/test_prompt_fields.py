"""The experiment's prompt fields: what they say, what they refuse, and which steps they change."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import BASES, write_experiment
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment, read_recorded
from w2s_core.models.base_files import has_chat_template
from w2s_core.prompting import STOP, TextEncoder
from w2s_core.runs import build_graph, record


def with_templates(folder: Path) -> Path:
    """A tiny experiment whose bases, copies of the lab's, have a chat template."""
    bases = {side: folder / name for side, name in (("weak", "llama"), ("strong", "strong"))}
    for base in bases.values():
        if not base.exists():
            shutil.copytree(BASES / base.name, base)
            (base / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return write_experiment(folder, **{side: str(base) for side, base in bases.items()})


def keys(tmp_path: Path, *overrides: str) -> dict[str, list[str]]:
    """The keys of an experiment's steps, by their step's name."""
    graph = build_graph(load_experiment(with_templates(tmp_path), overrides), "cpu")
    by_step: dict[str, list[str]] = {}
    for handle in topological(graph.targets.values()):
        by_step.setdefault(handle.name, []).append(handle.key)
    return by_step


def test_the_default_is_in_no_key_and_no_record(tmp_path: Path) -> None:
    assert keys(tmp_path) == keys(tmp_path, "prompt=qa") == keys(tmp_path, "demonstrations=text")
    experiment = load_experiment(write_experiment(tmp_path))
    assert not {"prompt", "prompts", "demonstrations"} & experiment.model_dump(mode="json").keys()


def test_a_prompt_changes_the_steps_of_its_model_alone(tmp_path: Path) -> None:
    plain, weak = keys(tmp_path), keys(tmp_path, "prompts.weak=chat")
    assert plain["questions"] == weak["questions"]
    assert plain["gold"] == weak["gold"]
    assert len(set(plain["base_model"]) & set(weak["base_model"])) == 1  # the strong one
    assert not set(plain["grade"]) <= set(weak["grade"])


def test_demonstrations_as_text_change_few_shot_samples_of_chats_alone(tmp_path: Path) -> None:
    turns, text = keys(tmp_path, "prompt=chat"), keys(tmp_path, "prompt=chat", "demonstrations=text")
    assert turns["base_model"] == text["base_model"]
    assert turns["demonstrate"] == text["demonstrate"]
    assert turns["sft"][0] == text["sft"][0]
    assert turns["sample"][0] == text["sample"][0]
    assert turns["sample"] != text["sample"]


def test_a_record_gives_the_prompts_back(tmp_path: Path) -> None:
    overrides = ("prompt=chat", "prompts.weak.system=Think.", "demonstrations=text")
    graph = build_graph(load_experiment(with_templates(tmp_path), overrides), "cpu")
    kept = json.loads(json.dumps(record(graph, "run", [])))
    assert read_recorded(kept).prompt_of("strong") == {"form": "chat"}
    assert read_recorded(kept).prompt_of("weak") == {"system": "Think."}


@pytest.mark.parametrize("override", ["prompt=chat", "prompts.strong=chat", "prompts.strong.form=chat"])
def test_a_chat_without_a_template_is_refused_when_it_is_planned(tmp_path: Path, override: str) -> None:
    side = "weak" if override == "prompt=chat" else "strong"
    experiment = load_experiment(write_experiment(tmp_path), (override,))
    with pytest.raises(
        UserError, match=rf"^{side}: /.*: prompt: chat, and its tokenizer has no chat template"
    ):
        build_graph(experiment, "cpu")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("chat_template.jinja", "{{ messages }}"),
        ("additional_chat_templates/default.jinja", "{{ messages }}"),
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}'),
        ("tokenizer_config.json", '{"chat_template": [{"name": "default", "template": "{{ messages }}"}]}'),
    ],
)
def test_a_template_is_seen_in_each_of_its_places(tmp_path: Path, file: str, text: str) -> None:
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": null}')
    assert not has_chat_template(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert has_chat_template(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prompt=chatt", "field 'prompt.form': should be 'qa' or 'chat'"),
        ("prompt.user=Answer this", r"field 'prompt.user': should hold {question} once"),
        ("prompt.user='{question} {question}'", "should hold {question} once"),
        ("prompt.user='{question} '", "should not end in a space"),
        ("prompt.sytem=Think.", "unknown field 'prompt.sytem'; did you mean 'system'"),
        ("prompts.teacher=chat", "field 'prompts.teacher' names no base model of the recipe: weak, strong"),
        ("demonstrations=no", "field 'demonstrations': should be"),
    ],
)
def test_bad_values_are_one_line(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_experiment(write_experiment(tmp_path), (override,))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Letters:
    """A tokenizer of one id a character."""

    bos_token_id, eos_token_id = None, 0

    def __call__(self, text: str, **options: Any) -> Any:
        return type("Encoded", (), {"input_ids": [ord(char) for char in text]})

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [chr(number) for number in ids]


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_text_of_ones_own() -> None:
    encoder = TextEncoder(Letters(), system="Think.", user="Problem: {question}\nSolution:")
    assert text_of(encoder.prompt("c", [("a", " 1 ")])) == (
        "Think.\n\nProblem: a\nSolution: 1\n\nProblem: c\nSolution:"
    )
    assert encoder.stop == ("\nProblem:",)
    assert encoder.completion("1") == [ord(" "), ord("1"), 0]
    assert TextEncoder(Letters()).stop == STOP
    assert TextEncoder(Letters(), user="{question} =").stop == ()
