"""What of a recipe's code is looked at for its fields: modules next to it, by any kind of import."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, create_model

from w2s_core.errors import UserError
from w2s_core.experiment import Experiment, Training
from w2s_core.recipes.unused_fields import (
    _imported,
    _sources,
    check_fields_are_read,
    is_of_harness,
    own_fields,
)
from w2s_core.recipes.weak_to_strong import StageOne, WeakToStrong

Write = Callable[[dict[str, str]], None]


class Filter(BaseModel):
    """A section of a user's own."""

    depth: int = 3


class Filtered(Experiment):
    """A field, one that names a base model, and a section."""

    model: str
    rounds: int = 1
    filter: Filter | None = None


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Files of a folder on the path; what they bring in is gone afterwards."""
    monkeypatch.syspath_prepend(tmp_path / "folder")
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "folder" / name).write_text(text)

    return write


def check(module: str, recipe: str) -> None:
    check_fields_are_read(recipe, Filtered, ("model",), importlib.import_module(module).build)


def test_own_fields_are_named_with_their_sections() -> None:
    own = own_fields(Filtered)
    assert list(own) == ["model", "rounds", "filter", "filter.depth"]
    assert (own["rounds"].default, own["filter.depth"].default) == (1, 3)
    assert {"weak_sft", "stage1.samples", "stage2.keep"} <= set(own_fields(WeakToStrong))
    assert "weak_sft.learning_rate" not in own_fields(WeakToStrong), "the harness reads what is in it"


def test_a_section_in_place_of_a_field_of_the_harness_is_no_field_of_the_recipes() -> None:
    replaced: Any = create_model("Replaced", __base__=Experiment, evaluation=(Filter, Filter()))
    assert own_fields(replaced) == {}


def test_sections_of_the_harness_are_all_but_those_of_its_recipes() -> None:
    assert is_of_harness(Training)
    assert not is_of_harness(StageOne)
    assert not is_of_harness(Filter)
    for module, of_harness in (
        ("w2s_core", True),
        ("w2s_core_more.own", False),
        ("w2s_core.recipes", False),
        ("w2s_core.recipes_more", True),
    ):
        assert is_of_harness(type("Section", (BaseModel,), {"__module__": module})) == of_harness, module


def test_imports_are_named_in_full() -> None:
    tree = ast.parse(
        "import a.b, c\nfrom d import e\nfrom . import f\nfrom .g import h\nfrom ..i import j\nif c:\n    import k"
    )
    modules = "a.b c d d.e p.q p.q.f p.q.g p.q.g.h p.i p.i.j k"
    assert sorted(_imported(tree, "p.q")) == sorted(modules.split())


def test_modules_next_to_the_recipe_are_looked_at_and_no_others(write: Write, tmp_path: Path) -> None:
    write(
        {
            "pack/__init__.py": "",
            "pack/method.py": "import sys, json\nfrom . import near\nfrom .sub.deep import last\nimport far\n"
            "def build(): ...",
            "pack/near.py": "import pack.method\n",
            "pack/sub/__init__.py": "",
            "pack/sub/deep.py": "from ..other import value\nlast = value",
            "pack/other.py": "value = 1",
            "pack/unused.py": "",
            "far.py": "",
        }
    )
    importlib.import_module("pack.method")
    importlib.import_module("pack.unused")
    texts = sorted(ast.unparse(tree) for tree in _sources("pack.method"))
    files = ["__init__.py", "method.py", "near.py", "sub/deep.py", "other.py"]
    folder = tmp_path / "folder" / "pack"
    assert texts == sorted(ast.unparse(ast.parse((folder / file).read_text())) for file in files)


def test_of_the_harness_the_recipes_own_module_alone_is_looked_at() -> None:
    assert len(_sources("w2s_core.recipes.weak_to_strong")) == 1


def test_nothing_is_refused_where_there_is_no_source(write: Write) -> None:
    write({"typed.py": "def build(): ..."})
    build = importlib.import_module("typed").build
    build.__module__ = "of_a_notebook"
    assert _sources("of_a_notebook") == []
    check_fields_are_read("typed", Filtered, ("model",), build)


def test_a_base_model_need_not_be_read_and_a_section_is_read_whole_when_it_is_dumped(write: Write) -> None:
    write({"dumped.py": "def build(x):\n    x.rounds, x.filter.model_dump()"})
    check("dumped", "dumped")


def test_a_dumped_section_reads_no_field_beside_it(write: Write) -> None:
    write({"beside.py": "def build(x):\n    x.filter.model_dump()"})
    with pytest.raises(UserError) as error:
        check("beside", "beside")
    file = sys.modules["beside"].__file__
    problem = "its field 'rounds' is read nowhere in"
    assert str(error.value) == f"recipe 'beside': {problem} {file}: use it or take it out"


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("x.rounds", True),
        ("step(rounds=2)", True),
        ("getattr(x, 'rounds')", True),
        ("number: int = x.rounds", True),
        ("class Own:\n        def read(self): return self.rounds", True),
        ("rounds = 2", False),
        ("step(**{}), 5, 'other'", False),
    ],
)
def test_an_attribute_a_keyword_or_a_text_reads_a_field(write: Write, code: str, read: bool) -> None:
    write({"mentions.py": f"def build(x):\n    x.filter.depth\n    {code}"})
    if read:
        check("mentions", code)
        return
    with pytest.raises(UserError, match="'rounds' is read nowhere"):
        check("mentions", code)


@pytest.mark.parametrize(
    "mark",
    ["field_validator('rounds')", "pydantic.field_validator('rounds')", "validator", "model_validator"],
)
def test_a_validator_and_a_definition_read_no_field(write: Write, mark: str) -> None:
    write(
        {
            "checked.py": "import pydantic\nfrom pydantic import field_validator\n"
            "def validator(f): return f\ndef model_validator(f): return f\n"
            f"class Own:\n    rounds: int = dict(rounds=1)\n    @{mark}\n    def check(cls, x): return x.rounds\n"
            "def build(x):\n    x.filter.depth"
        }
    )
    with pytest.raises(UserError, match="'rounds' is read nowhere"):
        check("checked", mark)


def test_other_decorators_hide_nothing(write: Write) -> None:
    write(
        {
            "marked.py": "import functools\n@functools.cache\ndef build(x):\n    x.filter.depth, x.rounds\n"
            "class Own:\n    rounds = property(len)\n    def read(self): return self.depth"
        }
    )
    check("marked", "marked")
