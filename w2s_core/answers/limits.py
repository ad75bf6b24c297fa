"""Limits on what is read of an answer."""

from typing import Final

MAX_ANSWER: Final = 500
"""Characters. A longer final answer is a model that ran away: it counts as no answer."""
MAX_ALGEBRA: Final = 300
"""Characters. Longer answers are compared as texts only."""
MAX_ITEMS: Final = 60
"""Items of a list, or entries of a matrix. Longer ones are compared as texts only."""
