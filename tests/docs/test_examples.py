"""What README and docs tell a reader to type works as it stands: commands, settings, files, code."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from tests.docs.pages import MANUAL, blocks, name_of, tokens
from tests.tiny import BASES, REPOSITORY, write_experiment
from tests.typed import typed, typed_apart
from w2s_core.cli.main import main
from w2s_core.cli.main import w2s as group
from w2s_core.experiment import load_experiment
from w2s_core.tasks import load_task

DOCS = REPOSITORY / "docs"


def type_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = typed_apart if "--import" in arguments else typed  # an imported method would stay for other tests
    return call(*arguments, folder=folder)


def w2s(*arguments: str, folder: Path) -> str:
    done = type_in(folder, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def commands(page: Path) -> list[str]:
    """The command lines of `w2s` and `make` on a page, in blocks, tables and sentences."""
    shown = [
        line.removeprefix("$ ")
        for kind in ("sh", "console")
        for text in blocks(page, kind)
        for line in text.splitlines()
    ]
    inline = [token.content for token in tokens(page) if token.type == "code_inline"]
    return [line for line in (*shown, *inline) if re.match(r"(w2s|make) ", line)]


def complaint(words: list[str]) -> str:
    """What click says of a command's words, which it reads as it does before a command is called."""
    context = group.make_context("w2s", words)
    command: click.Command = group
    try:
        while isinstance(command, click.Group):
            name, found, words = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None
            command = found
            context = command.make_context(name, words, parent=context)
    except click.UsageError as error:
        # a command may be named without its words, and with a file that the reader brings
        unfinished = click.MissingParameter | click.exceptions.NoArgsIsHelpError
        brought = isinstance(error, unfinished) or "does not exist" in error.message
        return "" if brought else error.message
    return ""


@pytest.mark.parametrize("page", MANUAL, ids=name_of)
def test_every_command_on_a_page_is_one_that_the_program_takes(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for line in commands(page):
        # [what may be left out] is tried too
        program, *words = shlex.split(re.sub(r"(?<!=)\[|\](?= |$)", "", line), comments=True)
        if program == "make":
            assert words[0] in targets, line
        elif words[0] not in ("--store", "--import"):  # these act before a command is read
            assert not complaint(words), line


def test_a_command_that_the_program_does_not_take_is_noticed() -> None:
    assert "No such command" in complaint(["sweeep", "x"])
    assert "No such option" in complaint(["run", "x", "--wrokers", "2"])
    assert "unexpected extra argument" in complaint(["show", "a", "b"])


def test_the_pages_show_commands() -> None:
    assert sum(len(commands(page)) for page in MANUAL) > 100


def transcripts(page: Path) -> list[tuple[str, str]]:
    """The commands of a page's console blocks, each with what it prints."""
    parts = [
        part for text in blocks(page, "console") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    ]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


@pytest.mark.parametrize(("command", "printed"), [both for page in MANUAL for both in transcripts(page)])
def test_a_command_prints_what_the_page_says(
    command: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    (tmp_path / "twice.jsonl").write_text('{"id": 1, "answer": "6", "gold": "5"}\n')
    (tmp_path / "answers.jsonl").write_text('{"id": 1, "response": "#### 5"}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit):
        main()
    pattern = re.escape(printed.strip()).replace(re.escape("..."), ".*")
    assert re.search(rf"^{pattern}$", "".join(capsys.readouterr()), re.MULTILINE)


def test_the_messages_that_the_page_explains_are_those_of_the_program() -> None:
    sources = "".join(path.read_text() for path in sorted((REPOSITORY / "w2s_core").rglob("*.py")))
    texts = re.sub(r'"\s+f?"', "", sources)  # a message may stand in several parts
    page = (DOCS / "troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 5
    for message in messages:
        written = max(re.split(r"\b[NMC]\b|\.\.\.|\(|pytorch_model.bin|the loss is nan", message), key=len)
        assert written in texts, message


def test_the_method_of_the_page_runs(tmp_path: Path) -> None:
    """As a stranger would try it: two files in an empty folder."""
    page = DOCS / "own-method.md"
    (tmp_path / "my_method.py").write_text(blocks(page, "python")[0])
    config = blocks(page, "yaml")[0].replace("/path/to/a/model", str(BASES / "strong"))
    (tmp_path / "my_method.yaml").write_text(config)
    small = [
        "task.options={train_1: 8, train_2: 12, dev: 4, test: 6, levels: [1, 2]}",
        "sft.max_steps=2", "sft.batch_size=4", "max_new_tokens=48", "samples=4",
    ]  # fmt: skip
    printed = w2s("--import", "my_method", "run", "my_method.yaml", *small, folder=tmp_path)
    assert "distilled" in printed
    assert "base, zero-shot" in printed
    assert "answers that vote" in w2s("--import", "my_method", "recipes", "distill", folder=tmp_path)


def test_the_method_of_readme_is_a_part_of_the_one_that_runs() -> None:
    shown = next(text for text in blocks(REPOSITORY / "README.md", "python") if "def distill" in text)
    assert {*shown.splitlines()} <= {*blocks(DOCS / "own-method.md", "python")[0].splitlines()}


def test_the_questions_of_the_page_are_read_and_planned(tmp_path: Path) -> None:
    page = DOCS / "own-questions.md"
    folder = tmp_path / "my_questions"
    folder.mkdir()
    rows = blocks(page, "json")[0]
    learnt = "".join(line for line in rows.splitlines(keepends=True) if "solution" in line)
    for split in ("train_1", "train_2", "dev", "test"):
        (folder / f"{split}.jsonl").write_text(learnt if split == "train_1" else rows)
    task = load_task("jsonl", {"data": str(folder), "answer": "number"})
    assert [problem.gold for problem in task.load("test")] == ["7", "7", "12"]

    config = blocks(page, "yaml")[0].replace("models/weak", str(BASES / "llama"))
    (tmp_path / "my_questions.yaml").write_text(config.replace("models/strong", str(BASES / "strong")))
    assert "sft:weak_floor" in w2s("plan", "my_questions.yaml", folder=tmp_path)


def test_the_row_and_task_of_readme_are_read(tmp_path: Path) -> None:
    readme = REPOSITORY / "README.md"
    task = yaml.safe_load(next(text for text in blocks(readme, "yaml") if text.startswith("task:")))["task"]
    (tmp_path / "train_1.jsonl").write_text(blocks(readme, "json")[0])
    (problem,) = load_task(task["name"], task["options"] | {"data": str(tmp_path)}).load("train_1")
    assert problem.gold == "7"


@pytest.mark.parametrize("number", [1, 2])
def test_the_other_tasks_of_the_page_are_set_up(number: int) -> None:
    task = yaml.safe_load(blocks(DOCS / "own-questions.md", "yaml")[number])["task"]
    assert load_task(task["name"], task["options"]).answer_rule


def test_the_settings_of_a_model_on_the_page_are_fields(tmp_path: Path) -> None:
    texts = blocks(DOCS / "own-model.md", "yaml")
    changes = {name: value for text in texts for name, value in yaml.safe_load(text).items()}
    experiment = load_experiment(write_experiment(tmp_path, **changes))
    assert experiment.prompt.user == "Problem: {question}\nSolution:"
    assert experiment.prompts["weak"].system == "Be brief."
    assert len(experiment.generation_config) == 4


def test_the_study_of_the_page_is_the_shipped_one() -> None:
    shipped = yaml.safe_load((REPOSITORY / "sweeps/mini_ablation.yaml").read_text())
    shown = yaml.safe_load(blocks(DOCS / "sweeps.md", "yaml")[0])
    assert shipped | shown == shipped


def test_the_data_commands_of_the_page_run(tmp_path: Path) -> None:
    page = DOCS / "own-outputs.md"
    cells = [token.content for token in tokens(page) if token.type == "code_inline"]
    response, gold, samples, question = [json.loads(cell) for cell in cells if cell.startswith('{"id"')]
    files = {
        "answers": response, "weak": response, "icl": response, "gold": gold, "samples": samples,
        "both": {"id": 1, "weak": response["response"], "icl": response["response"]},
        "train_1": question, "train_2": question, "test": question,
    }  # fmt: skip
    for name, row in files.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    summaries = {}
    for line in "".join(blocks(page, "sh")).splitlines():
        printed = w2s(*shlex.split(line)[1:], folder=tmp_path)
        summaries[shlex.split(line)[2]] = json.loads(printed.splitlines()[-1])
    assert summaries["grade"]["right"] == 1
    assert summaries["agree"]["kept"] == 1
    assert summaries["pairs"]["questions"] == 1
    assert summaries["leaks"]["exact"] == 2
