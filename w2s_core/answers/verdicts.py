"""What a graded response may come to."""

from typing import Final

RIGHT: Final = "right"


VERDICTS: Final = (RIGHT, "wrong", "unparsed", "timed_out")


TRUNCATED: Final = "length"
"""The `finish` of a response that ran into the limit on its length."""
