"""Colours and markers of the method's models: one look a model, the same in every figure."""

from typing import Final

from w2s_analysis.weak_to_strong.titles import METHODS
from w2s_analysis.writing.figures import CEILING, COVERAGE, FLOOR, LOOKS, PRECISION, Look

MODELS: Final = dict(zip(("weak", "icl", "hybrid", *METHODS), LOOKS, strict=True))
"""By the side of Stage I that a model is trained on (M_plus is `hybrid`), or its Stage II method."""
ALL: Final[dict[str, Look]] = MODELS | {
    "floor": FLOOR,
    "ceiling": CEILING,
    "precision": PRECISION,
    "coverage": COVERAGE,
}
COLOURS: Final = {name: look.colour for name, look in ALL.items()}
