"""Writes docs/fields.md: every field of an experiment, a study and a task, as their classes define and describe it.

python docs/make_fields.py      (or `make docs`, which builds the pages too)
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from w2s_core.cli.listing import default_of, described, first_line, task_options, type_name
from w2s_core.experiment import (
    Cpo,
    Dpo,
    Evaluation,
    Experiment,
    Preference,
    Prompt,
    Simpo,
    TaskConfig,
    Training,
)
from w2s_core.plugins import RECIPES, TASKS
from w2s_core.recipes.unused_fields import own_fields
from w2s_sweeps.study_file import Objective, Pruner, Range, Sampler, Study

PAGE = Path(__file__).with_name("fields.md")
HEAD = """\
<!-- Written by `make docs` (docs/make_fields.py) from the classes: change the descriptions there. -->

# Fields

What an experiment, a study and a task may say. A field that is not listed is an error, with its line. On the command
line a field is written with dots (`stage1.consistency=0.8`) and its value as in YAML. `w2s recipes NAME` and `w2s tasks
NAME` print the same, those of plug-ins included.
"""
EXPERIMENT = (Experiment, TaskConfig, Evaluation, Prompt, Training, Preference, Dpo, Cpo, Simpo)
BAR = r"\|"  # a bar within a cell of a table
STUDY = (Study, Range, Sampler, Objective, Pruner)


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Experiment\n"]
    parts += map(_section, EXPERIMENT)
    parts += [part for name in RECIPES.builtin for part in _recipe(name)]
    parts += ["## Study file\n", *map(_section, STUDY)]
    parts += [
        "## Tasks\n",
        "The options of each task, which stand under `task.options`.\n",
        *map(_task, TASKS.builtin),
    ]
    return "\n".join(parts)


def _section(section: type[BaseModel]) -> str:
    base = section.__base__
    inherited = base.model_fields if base in EXPERIMENT and issubclass(base, BaseModel) else {}
    own = {
        name: field
        for name, field in described(section).items()
        if name not in inherited or field.default != inherited[name].default
    }
    also = f" Beside the fields of {base.__name__}:" if base and inherited else ""
    return f"### {section.__name__}\n\n{first_line(section)}{also}\n\n{_table(_rows(own.items()))}"


def _recipe(name: str) -> Iterator[str]:
    recipe = RECIPES.get(name)
    yield f"## Recipe {name}\n"
    yield f"{recipe.summary}. Base models: {', '.join(recipe.models)}. Beside the fields of every experiment:\n"
    yield _table(_rows(own_fields(recipe.fields).items()))


def _task(name: str) -> str:
    options = [
        (option, kind, default, *_unit(effect)) for option, kind, default, effect in task_options(name)
    ]
    factory = TASKS.get(name)
    about = first_line(getattr(factory, "__self__", factory) if options else factory)
    return f"### Task {name}\n\n{about}\n\n{_table(options) if options else ''}"


def _rows(fields: Iterable[tuple[str, FieldInfo]]) -> Iterator[tuple[str, ...]]:
    for name, field in fields:
        yield name, type_name(field), default_of(field), *_unit(field.description or "")


def _unit(text: str) -> tuple[str, str]:
    """The unit in square brackets at the end of a description, and what stands before it."""
    match = re.fullmatch(r"(.*\S)\s+\[([^\[\]]+)\]", text, re.DOTALL)
    return (match[2], match[1]) if match else ("", text)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| field | type | default | unit | effect |", "|---|---|---|---|---|"]
    for name, kind, default, unit, effect in rows:
        cells = (f"`{name}`", _linked(kind), default, unit, effect)
        lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join([*lines, ""])


def _linked(kind: str) -> str:
    """A type; a section that stands on the page is a link to it."""
    name, bar, rest = kind.partition(" | ")
    on_page = name in {section.__name__ for section in (*EXPERIMENT, *STUDY)}
    return f"[{name}](#{name.lower()}){bar}{rest}" if on_page else f"`{kind}`"


if __name__ == "__main__":
    PAGE.write_text(page())
