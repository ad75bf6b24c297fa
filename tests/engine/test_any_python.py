"""A step has one key under every version of Python: what a version sees otherwise in the same code is not in it."""

import ast
from pathlib import Path

import pytest

from tests.engine.test_keys import load
from w2s_core.engine.syntax import global_names

NAMES = {
    "SIGNS = {sign: plain for sign, plain in PAIRS}": {"PAIRS"},
    "WORDS = [word.lower() for word in TEXT if word in {part for part in PARTS}]": {"TEXT", "PARTS"},
    "FIRST = next(item for item in ITEMS)": {"next", "ITEMS"},
    "class Kept:\n    rows = [row for row in ROWS]\n    size: int = len(rows)": {"ROWS", "len", "int"},
    "def f(x):\n    kind: Literal['a'] = g(x)\n    rest: list[Row]\n    return kind": {
        "Literal", "g", "list", "Row",
    },
    "def f(x: Text) -> Other:\n    return [y for y in x if (z := y)]": {"Text", "Other"},
    "def f(x):\n    global COUNT\n    COUNT = x\n    return f'{x!r:>{WIDTH}} {[one for one in ALL]}'": {
        "COUNT", "WIDTH", "ALL",
    },
    "f = lambda rows: {row: [g(cell) for cell in row] for row in rows}": {"g"},
}  # fmt: skip

MODULE = """
from typing import Literal
from w2s_core.engine import step

PAIRS = (("a", "b"),)
SIGNS = {sign: plain for sign, plain in PAIRS}

def sign(x):
    return x

class Kept:
    rows: list[str] = [row for row in SIGNS]

@step(version=1)
def one_key(ctx, *, n: int) -> dict:
    kind: Literal["a"] = "a"
    wide = f"{kind:>{n}} {[plain for plain in SIGNS.values()]}"
    match n:
        case 1 | 2:
            return {"wide": wide, "rows": Kept.rows}
    return {}
"""


@pytest.mark.parametrize("code", NAMES)
def test_the_global_names_in_code_are_those_that_python_3_11_sees(code: str) -> None:
    assert global_names(ast.parse(code).body[0]) == NAMES[code]


def test_a_step_has_the_key_that_it_has_under_python_3_11(tmp_path: Path) -> None:
    step = load(MODULE, tmp_path / "any_python.py").one_key
    assert step.sources["all_code"] == "2cb38bd4e6096b8dd3eab68ce3c499e63a651a0d86b4e7acb7fc7d3f84a8b197"
