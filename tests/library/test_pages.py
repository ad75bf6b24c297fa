"""What the pages of docs type into a store that holds runs, or a notebook beside it, works as it stands."""

import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import w2s
from tests.docs.pages import blocks
from tests.tiny import REPOSITORY
from w2s_core.cli.main import w2s as command

NAMES = {
    "RUN": "first",
    "OTHER_RUN": "second",
    "RUN_A": "first",
    "RUN_B": "second",
    "TAG": "good",
    "NAME": "third",
}
ELSEWHERE = ("--watch", "mini-ablation", "lab-llama-0", "accept", "make ")
"""In commands that do not end, or that speak of other runs or of an edit."""


@pytest.fixture
def place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the one that the pages speak of, where the tiny experiment stands for the lab's."""
    (tmp_path / "experiments/mini").mkdir(parents=True)
    shutil.copy(folder / "tiny.yaml", tmp_path / "experiments/mini/paper.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["store", "results"])
def test_the_commands_of_each_block_of_a_page_run_in_order(page: str, folder: Path, place: Path) -> None:
    ran = 0
    for number, text in enumerate(blocks(REPOSITORY / f"docs/{page}.md", "sh")):
        store = shutil.copytree(folder / "store", place / f"store-{number}")
        for line in text.splitlines():
            if any(word in line for word in ELSEWHERE):
                continue
            words = [NAMES.get(word, word) for word in shlex.split(line, comments=True)]
            done = CliRunner().invoke(command, ["--store", str(store), *words[1:]])
            assert done.exception is None, (line, done.exception, done.output)
            ran += 1
    assert ran > 5


@pytest.mark.parametrize("page", ["docs/library.md", "README.md"])
def test_the_code_of_a_page_runs_from_top_to_bottom(page: str, folder: Path, place: Path) -> None:
    names: dict[str, object] = {}
    shutil.copytree(folder / "store", place / ".w2s")
    for text in blocks(REPOSITORY / page, "python"):
        if "lab" in text:
            exec(compile(_small(text), page, "exec"), names)  # noqa: S102 - our own page
    assert isinstance(names["run"], w2s.Run)
    assert names["run"].name not in ("first", "second")


def _small(code: str) -> str:
    """The page's code on the runs that are here: with the same seed, most of its new run is cached."""
    return code.replace('"demo"', '"second"').replace("seed=1", "seed=0")
