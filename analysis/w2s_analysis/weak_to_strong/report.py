"""The report of weak-to-strong runs: the parts of any recipe, and what only the method has."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from w2s_analysis.parts.accuracy import accuracy_of
from w2s_analysis.parts.general import COST
from w2s_analysis.parts.levels import Line, level_figure, level_tables
from w2s_analysis.parts.part import Findings, Part, Report, each_setting
from w2s_analysis.parts.settings import settings_tables
from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.study import Study
from w2s_analysis.weak_to_strong.calibration import calibration_tables
from w2s_analysis.weak_to_strong.calibration_figure import calibration_figure
from w2s_analysis.weak_to_strong.capability_gap import save_gap
from w2s_analysis.weak_to_strong.diagnose import diagnose
from w2s_analysis.weak_to_strong.findings import control_contrasts, findings
from w2s_analysis.weak_to_strong.findings_page import page, save_findings
from w2s_analysis.weak_to_strong.labels import quality_of_set
from w2s_analysis.weak_to_strong.looks import ALL
from w2s_analysis.weak_to_strong.selection import selection_figure, selection_tables
from w2s_analysis.weak_to_strong.stage_one import stage_one_figure, stage_one_table
from w2s_analysis.weak_to_strong.stage_two import stage_two_tables
from w2s_analysis.weak_to_strong.thresholds import figure_groups, threshold_figure, threshold_tables
from w2s_analysis.weak_to_strong.titles import METHODS, iterations, m_plus, stage_two
from w2s_analysis.weak_to_strong.weak_choice import choice_figure, weak_choice_tables
from w2s_analysis.weak_to_strong.weak_models import pgr_figure, weak_model_tables
from w2s_analysis.writing.table import EMPTY, Cell, Table, percent, percent_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ON_LEVELS: Final = (
    "The paper reports that ORPO passes the ceiling on MATH levels 4 and 5 "
    "(its Figure 6, bars without numbers)."
)
_PRECISION, _COVERAGE = "agreed, precision", "agreed, coverage"


def _stage_one_figure(study: Study) -> "Figure | None":
    drawn = [group for group in study.bases if group.ids]
    return stage_one_figure(drawn) if drawn else None


def _level_tables(group: Group) -> list[Table]:
    return level_tables(group, _level_methods, ON_LEVELS)


def _level_methods(group: Group) -> list[str]:
    """The models that the paper's Figure 6 compares, and the baselines that they start from."""
    compared = ["weak_floor", "full_weak_ft", "weak_icl", m_plus(group), *METHODS, "ceiling"]
    planned = group.planned()
    return [method for method in compared if method in planned]


def _level_lines(group: Group) -> list[Line]:
    return [
        Line("weak_floor", "weak floor", ALL["floor"], ":"),
        Line(m_plus(group), "M+", ALL["hybrid"]),
        *(Line(method, METHODS[method], ALL[method]) for method in stage_two(group)),
        Line("ceiling", "strong ceiling", ALL["ceiling"], "--"),
    ]


def _settings_tables(study: Study) -> list[Table]:
    return settings_tables(study, _settings_cells, plain=(_COVERAGE,))


def _settings_cells(group: Group) -> dict[str, Cell]:
    names = {
        "weak floor": "weak_floor",
        "M_plus": m_plus(group),
        **{METHODS[method]: method for method in stage_two(group)},
        "ceiling": "ceiling",
    }
    planned = group.planned()
    quality = quality_of_set(group, f"agreed_{iterations(group)}")
    return {
        **{
            name: accuracy_of(group, method) if method in planned else EMPTY for name, method in names.items()
        },
        _PRECISION: percent_interval(quality.precision) if quality else EMPTY,
        _COVERAGE: percent(quality.coverage) if quality else EMPTY,
    }


def _findings_page(groups: Sequence[Group]) -> str:
    return page(groups, findings(groups), control_contrasts(groups))


def _save_findings(groups: Sequence[Group], out: Path, command: str) -> tuple[str, list[Path]]:
    return save_findings(groups, out, command)


STAGE_ONE = Part(
    "stage1",
    "Stage I: accuracy of every method",
    each_setting(lambda group: [stage_one_table(group)]),
    _stage_one_figure,
    "Accuracy over the iterations of Stage I, and after Stage II; bars and bands are 95 % intervals.",
    of_some=True,
)
STAGE_TWO = Part(
    "stage2", "Stage II: gains over M_plus, and the pairs", each_setting(stage_two_tables), of_some=True
)
SELECTION = Part(
    "selection",
    "Where the labels come from",
    each_setting(selection_tables),
    lambda study: selection_figure(study.bases),
    "Precision of each labelled set against its coverage; the number is the iteration, 0 are D_weak and D_icl.",
    of_some=True,
)
PARTS = (
    STAGE_ONE,
    STAGE_TWO,
    Part(
        "levels",
        "Accuracy by difficulty",
        each_setting(_level_tables),
        lambda study: level_figure(study.bases, _level_lines),
        "Accuracy by level; bars are 95 % intervals.",
        of_some=True,
    ),
    SELECTION,
    Part(
        "thresholds",
        "Thresholds as selection rules",
        threshold_tables,
        threshold_figure,
        "What each threshold buys; bars are 95 % intervals.",
        figure_groups,
    ),
    Part(
        "calibration",
        "Calibration of the vote",
        each_setting(calibration_tables),
        lambda study: calibration_figure(study.bases),
        "Above: how often votes of each confidence are right, with 95 % intervals, and how many votes have it. "
        "Below: how many of the surest votes are wrong, over the share of votes that is kept. Dashed: on train_2.",
        of_some=True,
    ),
    Part(
        "weak_models",
        "Weak models and the capability gap",
        weak_model_tables,
        lambda study: pgr_figure(study.bases),
        "Performance gap recovered, 0 = weak floor, 1 = strong ceiling; bars are 95 % intervals.",
    ),
    Part(
        "weak_choice",
        "The choice of the weak model",
        weak_choice_tables,
        lambda study: choice_figure(study.bases),
        "What M_plus gains over the strong model's zero-shot accuracy, over what is measured of the weak model; "
        "bars are 95 % intervals.",
    ),
    COST,
    Part("settings", "Settings and runs", _settings_tables),
)
REPORT = Report(
    PARTS,
    one_run=(STAGE_ONE, STAGE_TWO, SELECTION),
    findings=Findings(_save_findings, _findings_page),
    grid=save_gap,
    diagnose=diagnose,
)
