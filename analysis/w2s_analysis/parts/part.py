"""What a report is: parts, each of which makes tables and a figure of a study. A recipe may bring its own."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.recipes import find_recipe
from w2s_analysis.reading.study import Study
from w2s_analysis.writing.table import Table
from w2s_core.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from w2s_analysis.parts.rules import Finding
    from w2s_analysis.reading.results import StoreLike


@dataclass(frozen=True)
class Part:
    """A part of a report: the name of its files, its title, its tables, and its figure with a caption.

    `drawn`: the settings that the figure shows. `of_some`: its tables are of the settings that are shown in detail,
    which may not be all.
    """

    name: str
    title: str
    tables: Callable[[Study], list[Table]]
    figure: "Callable[[Study], Figure | None]" = lambda study: None
    caption: str = ""
    drawn: Callable[[Study], list[Group]] = lambda study: study.bases
    of_some: bool = False


@dataclass(frozen=True)
class Findings:
    """What a recipe claims, tested on the runs.

    Attributes:
        save: writes the findings of one setting a subject into a folder, with the command that makes them again;
            returns what to print, and the files. Raises UserError where the runs do not allow them.
        page: the same as Markdown.
    """

    save: Callable[[Sequence[Group], Path, str], tuple[str, list[Path]]]
    page: Callable[[Sequence[Group]], str]


@dataclass(frozen=True)
class Report:
    """The parts of a report of some runs of one recipe, in order.

    Attributes:
        parts: of several runs; the first one's tables are printed too.
        one_run: of these, the parts that one run has; the others compare runs.
        findings: what is claimed of several runs.
        grid: saves what compares studies with different companion models, and returns what to print.
        diagnose: applies the recipe's failure signatures to a run, for `w2s diagnose`.
    """

    parts: tuple[Part, ...]
    one_run: tuple[Part, ...]
    findings: Findings | None = None
    grid: Callable[[Sequence[Study], Path], str] | None = None
    diagnose: "Callable[[StoreLike, str], list[Finding]] | None" = None


def each_setting(make: Callable[[Group], list[Table]]) -> Callable[[Study], list[Table]]:
    """Tables of every setting that is shown in detail."""
    return lambda study: [table for group in study.detailed for table in make(group)]


def load_report(recipe_name: str) -> Report | None:
    """The report that a recipe brings; None where it brings none, or is not there.

    Raises:
        UserError: it cannot be imported, or is no report.
    """
    recipe = find_recipe(recipe_name)
    if recipe is None or not recipe.report:
        return None
    module, _, attribute = recipe.report.partition(":")
    try:
        report = getattr(importlib.import_module(module), attribute, None)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        text = " ".join(str(error).split())
        raise UserError(
            f"the report of recipe '{recipe_name}' ({recipe.report}): {type(error).__name__}: {text}"
        ) from None
    if not isinstance(report, Report):
        raise UserError(
            f"the report of recipe '{recipe_name}' ({recipe.report}) is no w2s_analysis.parts.part.Report"
        )
    return report
