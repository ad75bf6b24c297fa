"""What the shell completes, through click's own classes and a real bash; and that no line of a help is cut off."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from tests.tiny import write_experiment, write_plain
from w2s_core.cli.main import w2s
from w2s_core.engine import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three runs, of which two are of studies, and a damaged record."""
    store = Store(tmp_path / "store")
    for name, study in (("first", None), ("second", "grid"), ("other/run", "search")):
        store.refs.write(name, {"targets": {"x": "0" * 64}} | ({"study": study} if study else {}))
    (tmp_path / "store" / "refs" / "torn.json").write_text("{")
    return tmp_path / "store"


def completed(store: Path, *words: str) -> list[str]:
    *before, incomplete = words
    complete = ShellComplete(w2s, {}, "w2s", "_W2S_COMPLETE")
    return [item.value for item in complete.get_completions(["--store", str(store), *before], incomplete)]


@pytest.mark.parametrize("command", ["show", "rename", "tag", "note", "delete", "export-adapter", "diagnose"])
def test_names_of_runs(store: Path, command: str) -> None:
    assert completed(store, command, "") == ["first", "other/run", "second", "torn"]
    assert completed(store, command, "s") == ["second"]


def test_names_of_runs_where_several_stand(store: Path) -> None:
    assert completed(store, "compare", "first", "s") == ["second"]
    assert completed(store, "tables", "first", "second", "o") == ["other/run"]
    assert completed(store, "explain", "first", "step", "--against", "f") == ["first"]


@pytest.mark.parametrize("command", ["runs", "tables"])
def test_names_of_studies_past_a_damaged_record(
    store: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(store, command, "--study", "") == ["grid", "search"]
    assert completed(store, command, "--study", "g") == ["grid"]
    assert capsys.readouterr().err == ""


def test_a_store_that_is_not_there_completes_nothing(tmp_path: Path) -> None:
    assert completed(tmp_path / "none", "show", "") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["run", "plan", "doctor"])
def test_fields_are_those_of_the_recipe_that_the_file_names(tmp_path: Path, command: str) -> None:
    of_two, of_plain = str(write_experiment(tmp_path)), str(write_plain(tmp_path))
    assert completed(tmp_path, command, of_two, "stage2.ke") == ["stage2.keep="]
    assert "stage2.dpo.beta=" in completed(tmp_path, command, of_two, "seed=1", "stage2.")
    assert completed(tmp_path, command, of_plain, "stage2.") == [], "a recipe that is not there here"
    assert completed(tmp_path, command, str(tmp_path / "none.yaml"), "se") == []


def test_choices_of_a_field(tmp_path: Path) -> None:
    config = str(write_experiment(tmp_path))
    assert completed(tmp_path, "run", config, "engine=") == ["engine=transformers", "engine=vllm"]
    assert completed(tmp_path, "run", config, "controls=t") == ["controls=true"]
    assert completed(tmp_path, "run", config, "seed=") == []


def test_files_are_the_shells_own(tmp_path: Path) -> None:
    complete = ShellComplete(w2s, {}, "w2s", "_W2S_COMPLETE")
    for words in (["run"], ["sweep"], ["data", "grade", "--gold"]):
        (item,) = complete.get_completions(words, "x")
        assert (item.type, item.value) == ("file", "x")


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_with_the_script_that_the_command_prints(store: Path, tmp_path: Path) -> None:
    program = tmp_path / "w2s"
    program.write_text(f"#!{sys.executable}\nfrom w2s_core.cli.main import main\nmain()\n")
    program.chmod(0o755)
    script = (
        'eval "$(_W2S_COMPLETE=bash_source w2s)"; compopt() { printf "%s " option "$@"; echo; }\n'
        "COMP_WORDS=(w2s show se); COMP_CWORD=2; _w2s_completion w2s; echo ${COMPREPLY[@]}\n"
        "COMPREPLY=(); COMP_WORDS=(w2s runs --where max_new); COMP_CWORD=3\n"
        "_w2s_completion w2s; echo ${COMPREPLY[@]}\n"
    )
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "W2S_STORE": str(store),
    }
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["second", "option -o nospace ", "max_new_tokens="]


def groups(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Group]]:
    if isinstance(command, click.Group):
        yield context.command_path, command
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from groups(inner, click.Context(inner, context, name))


def test_no_short_help_is_cut_off_at_80_columns() -> None:
    for path, _ in groups(w2s, click.Context(w2s, info_name="w2s")):
        text = CliRunner().invoke(w2s, [*path.split()[1:], "--help"], terminal_width=78).stdout
        commands = text.partition("\nCommands:\n")[2].splitlines()
        assert len(commands) >= 4
        cut = [line for line in commands if line.endswith("...")]
        assert not cut
        for line in commands:
            name, summary = line.split(maxsplit=1)
            assert summary, f"{name} has no help"


def test_help_loads_nothing_slow_for_any_command() -> None:
    """Milliseconds depend on the machine; what takes them is what is imported."""
    context = click.Context(w2s, info_name="w2s")
    names = [[*name.split()[1:], inner] for name, group in groups(w2s, context) for inner in group.commands]
    names += [[name] for name in w2s.list_commands(context)]
    code = (
        "import json, sys\nfrom click.testing import CliRunner\nfrom w2s_core.cli.main import w2s\nslow = {}\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    done = CliRunner().invoke(w2s, [*words, '--help'])\n"
        "    assert done.exit_code == 0 and 'Usage' in done.stdout, (words, done.stdout)\n"
        "    loaded = {name for name in ('numpy', 'pandas', 'pydantic', 'pyarrow', 'sympy', 'torch', 'yaml') "
        "if name in sys.modules}\n"
        "    if loaded - set().union(*slow.values()):\n        slow[' '.join(words)] = sorted(loaded)\n"
        "print(json.dumps(slow))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(names)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {}
