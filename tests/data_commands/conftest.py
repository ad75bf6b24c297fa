"""The data commands as a caller sees them: files in, one JSON line and rows out."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from w2s_core.data.commands import data
from w2s_core.errors import UserError

Rows = list[dict[str, Any]]


@dataclass
class Bench:
    """A folder to write inputs into, and the commands to run on them."""

    folder: Path

    def file(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        return self.raw(name, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def raw(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    def rows(self, name: str) -> Rows:
        content = (self.folder / name).read_bytes()
        text = gzip.decompress(content) if name.endswith(".gz") else content
        return [json.loads(line) for line in text.splitlines()]

    def run(self, *arguments: object) -> dict[str, Any]:
        """The summary of a command that succeeds: the last line on stdout."""
        done = CliRunner().invoke(data, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return summary

    def refused(self, *arguments: object) -> str:
        """The message of a command that refuses its input; nothing may be left behind."""
        before = sorted(self.folder.rglob("*"))
        done = CliRunner().invoke(data, [str(argument) for argument in arguments])
        assert isinstance(done.exception, UserError), (done.output, done.exception)
        assert sorted(self.folder.rglob("*")) == before
        message = str(done.exception)
        assert "\n" not in message
        assert len(message) < 700
        return message


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def hashes() -> Callable[..., Rows]:
    """Rows with GSM8K responses: `hashes(a=5, b=None)` ends in "#### 5", and in nothing."""

    def make(**answers: object) -> Rows:
        return [
            {"id": name, "response": "So." if answer is None else f"So {name}.\n#### {answer}"}
            for name, answer in answers.items()
        ]

    return make
