"""The method of one's own that README shows, as a stranger would try it: two files in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

from tests.tiny import BASES, REPOSITORY


def blocks(language: str) -> list[str]:
    """The code blocks of README's section on a method of one's own."""
    section = (REPOSITORY / "README.md").read_text().split("## A method of your own")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


def w2s(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "w2s_core.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_method_that_readme_shows_runs(tmp_path: Path) -> None:
    (tmp_path / "my_method.py").write_text(blocks("python")[0])
    config = blocks("yaml")[0].replace("/path/to/a/model", str(BASES / "strong"))
    (tmp_path / "my_method.yaml").write_text(config)
    small = [
        "task.options={train_1: 8, train_2: 12, dev: 4, test: 6, levels: [1, 2]}",
        "sft.max_steps=2", "sft.batch_size=4", "max_new_tokens=48", "samples=4",
    ]  # fmt: skip
    printed = w2s("--import", "my_method", "run", "my_method.yaml", *small, folder=tmp_path)
    assert "distilled" in printed
    assert "base, zero-shot" in printed
    assert "answers that vote" in w2s("--import", "my_method", "recipes", "distill", folder=tmp_path)
