"""Each promise of PROMISES.md names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[tuple[str, str]]:
    """Each promise with the text of what holds it."""
    lines = (ROOT / "PROMISES.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [(promise, holders) for promise, holders in cells if promise != "promise"]


def names_in(path: str) -> set[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_promise_is_held_by_tests_that_exist() -> None:
    assert len(rows()) > 15
    for promise, holders in rows():
        named = TEST.findall(holders)
        assert named, f"no test holds: {promise}"
        assert len(named) == holders.count("`") // 2, f"not a test: {holders}"
        for path, name in named:
            assert name in names_in(path), f"{path} has no {name}: {promise}"
