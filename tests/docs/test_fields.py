"""docs/fields.md says of every field what its class says, and of a task's options what the task does with them."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
import yaml

from tests.tiny import REPOSITORY
from w2s_core.cli.listing import task_options
from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES, TASKS
from w2s_core.tasks import load_task

SPEC = spec_from_file_location("make_fields", REPOSITORY / "docs/make_fields.py")
assert SPEC is not None
assert SPEC.loader is not None
make_fields = module_from_spec(SPEC)
SPEC.loader.exec_module(make_fields)
PAGE = (REPOSITORY / "docs/fields.md").read_text()


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_is_what_the_classes_say() -> None:
    assert make_fields.page() == PAGE, "run `make docs`"


def test_every_field_of_the_page_says_what_it_does() -> None:
    assert len(rows()) > 100
    assert not [cells for cells in rows() if len(cells) != 5 or not cells[4] or not cells[1]]


@pytest.mark.parametrize("recipe", RECIPES.builtin)
def test_every_field_of_an_experiment_is_on_the_page(recipe: str) -> None:
    listed = {cells[0].strip("`").rpartition(".")[2] for cells in rows()}
    assert {*RECIPES.get(recipe).fields.model_fields} <= listed


NEEDED: dict[str, dict[str, Any]] = {
    "gsm8k": {"data": "x"},
    "math": {"data": "x"},
    "olympicarena": {"data": "x"},
    "jsonl": {"data": "x", "answer": "number"},
    "reasoning_gym": {"dataset": "chain_sum"},
}
"""What a task cannot be set up without."""


@pytest.mark.parametrize("name", [name for name in TASKS.builtin if name != "dataset"])
def test_a_task_documents_the_options_that_it_takes_with_their_defaults(name: str) -> None:
    needed = NEEDED.get(name, {})
    documented = {option: default for option, _, default, _ in task_options(name)}
    with pytest.raises(UserError, match="unknown option") as refused:
        load_task(name, {**needed, "Q": 0})
    known = re.findall(r"\w+", str(refused.value).partition("known: ")[2])
    assert set(known) == documented.keys()

    defaults = {
        option: yaml.safe_load(default)
        for option, default in documented.items()
        if not re.match("this or|required|none$", default)
    }
    assert load_task(name, {**defaults, **needed}) == load_task(name, needed)
