"""Kept digests are those that would be made anew, whatever happened to the sources or to the file in between."""

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from w2s_core.engine.digest_cache import sha
from w2s_core.engine.reach import Reach, _pieces
from w2s_core.engine.syntax import read_source

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "kept_top.py": "import outer\nfrom kept_pack import part, rule\n"
    "def run(n):\n    return rule(n) + part(n) + outer.f(n)\n",
    "kept_pack/__init__.py": "from kept_pack.rules import rule\ndef __getattr__(name):\n    return abs\n",
    "kept_pack/rules.py": "def rule(n):\n    return n * 2\n",
}
Change = Callable[[Path], object]


class Code:
    """A small package, the folder of its cache, and its digests as a new process would make them."""

    def __init__(self, folder: Path, run: Callable[..., Any]) -> None:
        self.folder, self.cache, self._run = folder / "code", folder / "cache" / "w2s", run
        self.parsed = 0

    def digests(self) -> tuple[str, dict[str, str], dict[str, tuple[Path, bytes]]]:
        _pieces.cache_clear()
        read_source.cache_clear()
        self.parsed = 0
        reach = Reach(self._run, ("kept_pack",), ())
        return reach.digest, reach.by_module, reach.files

    @property
    def file(self) -> Path:
        (file,) = self.cache.iterdir()
        return file

    def forget(self) -> None:
        self.file.unlink()


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Code]:
    for name, text in FILES.items():
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "code" / "outer.py").write_text("def f(n):\n    return n\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = Code(tmp_path, importlib.import_module("kept_top").run)
    parse = ast.parse

    def counted(*arguments: Any, **options: Any) -> ast.AST:
        code.parsed += 1
        return parse(*arguments, **options)

    monkeypatch.setattr(ast, "parse", counted)
    yield code
    for name in ("kept_top", "kept_pack", "kept_pack.rules", "outer"):
        sys.modules.pop(name, None)
    _pieces.cache_clear()


def test_sources_that_were_seen_are_not_parsed_again(code: Code) -> None:
    before = code.digests()
    assert code.parsed >= len(FILES)
    assert code.digests() == before
    assert code.parsed == 0
    assert before[2]["kept_pack.rules"] == (
        code.folder / "kept_pack/rules.py",
        FILES["kept_pack/rules.py"].encode(),
    )


def edit(name: str, old: str, new: str) -> Change:
    """Change a file behind the back of the clock: size and time stay."""

    def change(folder: Path) -> None:
        path = folder / name
        stat, text = path.stat(), path.read_text()
        assert old in text
        assert len(old) == len(new)
        path.write_text(text.replace(old, new))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return change


def make_package(folder: Path) -> None:
    (folder / "kept_pack/rules").mkdir()
    (folder / "kept_pack/rules.py").rename(folder / "kept_pack/rules/__init__.py")
    (folder / "kept_pack/rules/__init__.py").write_text(
        "from .. import rules\ndef rule(n):\n    return n * 2\n"
    )


CHANGES: dict[str, Change] = {
    "the step": edit("kept_top.py", "rule(n) + part(n)", "part(n) + rule(n)"),
    "what it reaches": edit("kept_pack/rules.py", "n * 2", "n * 3"),
    "a module appears where a name was": lambda folder: (folder / "kept_pack/part.py").write_text("x = 1\n"),
    "a module appears in a declared package": lambda folder: (folder / "kept_pack/new.py").write_text(
        "y = 1\n"
    ),
    "a module goes": lambda folder: (folder / "outer.py").unlink(),
    "a module becomes a package": make_package,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_a_change_the_digests_are_those_of_the_new_sources(code: Code, change: Change) -> None:
    before = code.digests()
    change(code.folder)
    sys.modules.pop("outer", None)
    importlib.invalidate_caches()
    changed = code.digests()
    code.forget()
    assert changed == code.digests() != before


def test_a_foreign_module_that_becomes_the_users_own_counts(code: Code) -> None:
    (code.folder / "outer.py").unlink()
    importlib.invalidate_caches()
    before = code.digests()
    (code.folder / "outer.py").write_text("def f(n):\n    return n\n")
    importlib.invalidate_caches()
    assert code.digests()[0] != before[0]


def altered(text: str, **parts: Any) -> str:
    """The file's text with other parts and a checksum that fits."""
    content = json.dumps({**json.loads(text.partition("\n")[2]), **parts})
    return f"{sha(content)}\n{content}"


def forged(text: str) -> Any:
    digests = json.loads(text.partition("\n")[2])["digests"]
    digests["steps"] = {name: dict.fromkeys(table, "0" * 64) for name, table in digests["steps"].items()}
    return digests


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "torn": lambda text: text[: len(text) // 2],
    "a digit of a digest": lambda text: text[:-20] + ("1" if text[-20] == "0" else "0") + text[-19:],
    "another identity": lambda text: altered(text, identity="another Python", digests=forged(text)),
    "no digests": lambda text: altered(text, digests=None),
    "numbers for digests": lambda text: altered(
        text, digests={"modules": {"kept_pack": 1}, "tops": {}, "steps": {}}
    ),
    "more than digests": lambda text: altered(
        text, digests={"modules": {}, "tops": {}, "steps": {}, "x": {}}
    ),
    "a list": lambda text: f"{sha('[]')}\n[]",
    "deep": lambda text: f"{sha('[' * 100_000)}\n{'[' * 100_000}",
    "no text": lambda text: "\udcff",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_or_foreign_file_is_made_anew(code: Code, damage: Callable[[str], str]) -> None:
    before = code.digests()
    intact = code.file.read_text()
    code.file.write_text(damage(intact), errors="surrogateescape")
    assert code.digests() == before
    assert code.parsed > 0
    assert code.file.read_text() == intact


def test_another_python_makes_its_own(code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    code.digests()
    monkeypatch.setattr(sys, "version", "4.0")
    code.digests()
    assert code.parsed > 0


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("place", ["a file stands there", "no home"])
def test_without_a_folder_for_it_nothing_is_kept(
    code: Code, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before = code.digests()
    if place == "no home":
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setattr(Path, "home", no_home)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(code.folder / "kept_top.py"))
    assert code.digests() == before
    assert code.digests() == before
    assert code.parsed > 0
    assert not Path("relative").exists()


def test_functions_with_the_text_of_a_line_are_not_kept(code: Code) -> None:
    """Which of two is executed shows in no source."""
    text = "import os\nif os.environ.get('KEPT_SECOND'):\n    def run(n):\n        return n\nelse:\n"
    text += "    def run(n):\n        return -n\n"
    (code.folder / "kept_top.py").write_text(text)
    digests = {}
    for second in ("", "1"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from w2s_core.engine.reach import Reach; import kept_top; print(Reach(kept_top.run, (), ()).digest)",
            ],
            env={**os.environ, "PYTHONPATH": f"{code.folder}:{ROOT}", "KEPT_SECOND": second},
            capture_output=True,
            text=True,
            check=True,
        )
        digests[second] = done.stdout
    assert digests[""] != digests["1"]
