"""The parts that the report of any recipe has."""

from w2s_analysis.parts.accuracy import accuracy_table
from w2s_analysis.parts.cost import cost_tables
from w2s_analysis.parts.labels import labelled_set_tables
from w2s_analysis.parts.levels import level_figure, level_tables
from w2s_analysis.parts.part import Part, Report, each_setting
from w2s_analysis.parts.settings import settings_tables

ACCURACY = Part(
    "accuracy",
    "Accuracy of every model",
    each_setting(lambda group: [accuracy_table(group)]),
    of_some=True,
)
LEVELS = Part(
    "levels",
    "Accuracy by difficulty",
    each_setting(level_tables),
    lambda study: level_figure(study.bases),
    "Accuracy by level; bars are 95 % intervals.",
    of_some=True,
)
LABELS = Part("labels", "Labels of training questions", each_setting(labelled_set_tables), of_some=True)
COST = Part("cost", "Cost, and what sharing steps saves", cost_tables)
SETTINGS = Part("settings", "Settings and runs", settings_tables)
GENERAL = Report((ACCURACY, LEVELS, LABELS, COST, SETTINGS), one_run=(ACCURACY, LABELS))
