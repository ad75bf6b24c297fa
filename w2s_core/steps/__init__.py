"""The steps: each reads the folders of its inputs, calls the code that does the work, and writes its own folder.

Only what decides a result is a parameter. Devices, batch sizes, folders and trackers come in `ctx.runtime`. The
modules under `code` and the libraries enter a step's key, so that a changed rule never answers with an old result.
Importing this package registers every step by its name.
"""

from w2s_core.steps.data import base_model, gold, questions
from w2s_core.steps.grade import grade
from w2s_core.steps.sample import as_text, demonstrate, sample
from w2s_core.steps.select import agree, contrast, keep_majority, keep_right, on_same_questions, random_subset
from w2s_core.steps.shown import demonstrate_gold, show_gold
from w2s_core.steps.train import prefer, sft

__all__ = [
    "agree",
    "as_text",
    "base_model",
    "contrast",
    "demonstrate",
    "demonstrate_gold",
    "gold",
    "grade",
    "keep_majority",
    "keep_right",
    "on_same_questions",
    "prefer",
    "questions",
    "random_subset",
    "sample",
    "sft",
    "show_gold",
]
