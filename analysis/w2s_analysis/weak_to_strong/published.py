"""The paper's published figures (arXiv 2407.13647, Llama2-70b as the strong model), greedy accuracy in per cent.

Source: the numbers printed in Figure 4; Stage II on GSM8K second-hand, from a survey that cites the paper's text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from w2s_analysis.parts.accuracy import SAMPLED
from w2s_analysis.reading.groups import Group
from w2s_analysis.weak_to_strong.titles import m_plus
from w2s_analysis.writing.table import Cell, Table

_WEAK: Final = ("llama2_7b", "gemma_2b", "mistral_7b")

STAGE_ONE: Final[dict[str, dict[str, tuple[float, float, float]]]] = {
    "gsm8k": {
        "weak_floor": (33.81, 25.17, 59.51),
        "full_weak_ft": (42.38, 29.04, 61.33),
        "weak_icl": (59.06, 56.48, 61.56),
        "weak_ft_1": (53.68, 42.91, 65.20),
        "icl_ft_1": (61.71, 59.21, 66.26),
        "hybrid_ft_1": (59.44, 53.22, 68.08),
        "weak_ft_2": (57.47, 45.03, 66.72),
        "icl_ft_2": (63.76, 60.12, 66.64),
        "hybrid_ft_2": (62.62, 56.03, 68.39),
        "ceiling": (71.95, 71.95, 71.95),
    },
    "math": {
        "weak_floor": (4.40, 11.60, 13.60),
        "full_weak_ft": (5.80, 10.00, 14.40),
        "weak_icl": (11.40, 12.60, 11.80),
        "weak_ft_1": (10.80, 10.80, 14.80),
        "icl_ft_1": (11.80, 15.60, 13.60),
        "hybrid_ft_1": (14.00, 14.20, 14.80),
        "ceiling": (17.80, 17.80, 17.80),
    },
}

PASS_AT_10: Final[dict[str, dict[str, tuple[float | None, float | None, float | None]]]] = {
    "gsm8k": {
        "hybrid_ft_2": (86.28, 85.14, 88.70),
        "icl_ft_2": (81.05, 80.14, None),
        "ceiling": (94.16, 94.16, 94.16),
    },
    "math": {"hybrid_ft_1": (33.60, 38.40, 39.60), "ceiling": (43.40, 43.40, 43.40)},
}

SECOND_HAND: Final[dict[str, dict[str, tuple[float | None, float | None, float | None]]]] = {
    "gsm8k": {"orpo": (68.16, 63.91, 72.18), "dpo": (None, 64.52, None)},
}
"""Stage II, from a survey."""


def published_figure(
    task: str, weak: str, method: str, last: str, *, pass_at_10: bool = False
) -> float | None:
    """The paper's figure beside ours, if it gives one for this task and weak model.

    Args:
        weak: a model's name as people write it: `Llama-2-7b-hf`, `meta-llama/Llama-2-7b`, `gemma-2b`.
        last: the model that M_plus is an alias of. With other iterations than the paper's, Stage II has none.
    """
    column = _column(weak)
    if column is None:
        return None
    if pass_at_10:
        tables: list[dict[str, tuple[float | None, ...]]] = [dict(PASS_AT_10.get(task, {}))]
    else:
        tables = [dict(STAGE_ONE.get(task, {}))]
        if last in STAGE_ONE.get(task, {}) and last == {
            "gsm8k": "hybrid_ft_2",
            "math": "hybrid_ft_1",
        }.get(task):
            tables.append(dict(SECOND_HAND.get(task, {})))
    return next((table[method][column] for table in tables if method in table), None)


def _column(weak: str) -> int | None:
    plain = re.sub(r"[^a-z0-9]", "", weak.lower().rsplit("/", 1)[-1])
    for i, known in enumerate(_WEAK):
        if plain.startswith(known.replace("_", "")):
            return i
    return None


def add_published(table: Table, group: Group) -> None:
    """The paper's own figures beside those of the runs, where it has this weak model and task."""
    add_columns(table, group, group.planned(), {"paper": False, f"paper, {SAMPLED}": True})
    if "paper" in table.columns:
        table.notes.append(
            "paper: arXiv 2407.13647, Figure 4; its Stage II on GSM8K from a survey that cites its text."
        )


def add_columns(table: Table, group: Group, methods: Sequence[str], headings: Mapping[str, bool]) -> None:
    """Add columns of published figures to a table with a row for each method; `headings` tell whether it is pass@10."""
    for heading, sampled in headings.items():
        figures = [
            published_figure(group.task, group.subject, method, m_plus(group), pass_at_10=sampled)
            for method in methods
        ]
        if any(figure is not None for figure in figures):
            table.columns.append(heading)
            for figure, row in zip(figures, table.rows, strict=True):
                row[heading] = Cell(f"{figure:.2f}", figure) if figure is not None else Cell("–")
