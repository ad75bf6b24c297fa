"""What a graded response may come to."""

from typing import Final

RIGHT: Final = "right"


VERDICTS: Final = (RIGHT, "wrong", "unparsed", "timed_out", "undecided")
"""Only the first counts as right; the last two are neither right nor wrong (see `extract.Verdict`)."""


TRUNCATED: Final = "length"
"""The `finish` of a response that ran into the limit on its length."""
