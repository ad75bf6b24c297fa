"""Configs that no one means well with: each is refused at once, in one line that names the file and what is wrong."""

import os
import time
from pathlib import Path

import pytest

from tests.tiny import write_experiment
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.strict_yaml import read_yaml, validate
from w2s_core.tasks import load_task
from w2s_sweeps.study_file import Study


def refusal(path: Path, *overrides: str) -> str:
    """The one line; it comes within the time that a person waits."""
    before = time.process_time()
    with pytest.raises(UserError) as caught:
        load_experiment(path, overrides)
    assert time.process_time() - before < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [" + ",".join(["1"] * 449_000) + "]", 1, "more than 20,000 names and values"),
        ("a:\n" + "- 1\n" * 220_000, 19_999, "more than 20,000 names and values"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", 2, "aliases (*name) are not supported"),
        ("a: {x: 1}\nb:\n  <<: {x: 2}", 3, "merge keys (<<) are not supported; write the fields out"),
        ("a: 1\nb: " + "1" * 5000, 2, "a number of 5,000 digits (at most 1,000)"),
        ("a: 0x" + "f" * 5000, 1, "a number of 5,002 digits"),
        ("a: " + "1:" * 40_000 + "1", 1, "a number of 80,001 digits"),
        ("a: 2024-13-45", 1, "month must be in 1..12"),
        ("a: !!int x", 1, "invalid literal"),
        ("a: !!python/object/apply:os.system [ls]", 1, "could not determine a constructor"),
        ("a: " + "[" * 5000, None, "nested too deeply"),
        ("? [a, b]\n: 1", 1, "unhashable key"),
    ],
    ids=[
        "flow",
        "block",
        "alias",
        "merge",
        "digits",
        "hex",
        "base 60",
        "date",
        "tag",
        "python",
        "deep",
        "key",
    ],
)
def test_yaml(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    message = refusal(path)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert words in message


def test_a_quoted_merge_key_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('"<<": 1')
    assert read_yaml(tmp_path / "a.yaml", "a file")[0] == {"<<": 1}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=" + "1" * 5000, "a number of 5,000 digits"),
        ("seed=2024-13-45", "month must be in 1..12"),
        ("weak={<<: {a: 1}}", "merge keys (<<) are not supported"),
        ("seed=" + "[" * 5000, "nested too deeply"),
        ("a." * 5000 + "b=1", "5000 sections deep; no field is below 20"),
        (f"max_new_tokens={10**20}", "'max_new_tokens': should be less than or equal to 1000000"),
        ("sft.lora_r=1000000000", "'sft.lora_r': should be less than or equal to 16384"),
        ("weak_sft.batch_size=1000000000", "'weak_sft.batch_size': should be less than or equal to"),
        ("stage2.samples=1000000000", "'stage2.samples': should be less than or equal to"),
        ("stage1.iterations=1000000000", "'stage1.iterations': should be less than or equal to 100"),
        ("evaluation.samples=1000000000", "'evaluation.samples': should be less than or equal to"),
        ("shots=1000000000", "'shots': should be less than or equal to"),
        (
            f"task.options.train_1={10**20}",
            "option 'train_1' must be a whole number of at least 1 and at most",
        ),
        (f"task.options.seed={10**900}", "option 'seed' must be a whole number"),
    ],
)
def test_overrides(tmp_path: Path, override: str, words: str) -> None:
    assert words in refusal(write_experiment(tmp_path), override)


@pytest.mark.parametrize("content", ["a pipe or a device", "a folder"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.mkdir() if content == "a folder" else os.mkfifo(path)
    assert refusal(path) == f"{path}: {content}, where a regular file is needed"


@pytest.mark.parametrize(
    "name", ["../a", "a/b", "..", ".a", "a\n", "a\x1b[2J", "a\0b", "=cmd", "-a", "a" * 300]
)
def test_names_that_would_lead_elsewhere(tmp_path: Path, name: str) -> None:
    assert "'name': " in refusal(write_experiment(tmp_path, name=name))
    study = {"name": name, "base": "tiny.yaml", "space": {"seed": [1]}}
    with pytest.raises(UserError, match=r"field 'name': [^\n]*\Z"):
        validate(Study, study, tmp_path / "study.yaml", {})


@pytest.mark.parametrize("split", ["../test", "te\nst", "/etc/passwd"])
def test_splits_that_are_none(tmp_path: Path, split: str) -> None:
    assert "'evaluation.splits.0'" in refusal(write_experiment(tmp_path, evaluation={"splits": [split]}))
    with pytest.raises(UserError, match=r"\A[^\n]*\Z"):
        load_task("mini", {}).load(split)


@pytest.mark.parametrize(
    "model", ["org/../../x", "a\nb@c", "org/model@../../x", "org/model@a\x1bb", "-x/y@abc"]
)
def test_models_that_are_neither_a_folder_nor_on_the_hub(tmp_path: Path, model: str) -> None:
    from w2s_core.runs import resolve_base

    with pytest.raises(UserError, match=r"neither a folder nor a hub id with its revision") as caught:
        resolve_base(model)
    assert str(caught.value).isprintable()


def test_an_error_is_one_line_that_a_terminal_does_not_act_on() -> None:
    assert str(UserError("a\nb\x1b[2J\u202ec\udc80 é")) == r"a\nb\x1b[2J\u202ec\udc80 é"
    assert len(str(UserError("x" * 10**6))) == 2_003
