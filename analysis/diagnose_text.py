"""The findings of `w2s diagnose` for a terminal, and as plain data."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from analysis.weak_to_strong.diagnose_rules import FAMILIES, VERDICTS

if TYPE_CHECKING:
    from analysis.weak_to_strong.diagnose import Finding

WIDTH: Final = 100
_MARGIN: Final = " " * 16
_MEANING: Final = (
    "shown: the whole 95 % interval lies beyond the rule's limit; not shown: on the other side; not resolved: the "
    "interval holds the limit, which more questions would narrow. Intervals are over questions, grouped by template "
    "where templates are named; they are not corrected for the number of rules, and say nothing about other seeds."
)


def render(run: str, findings: Sequence["Finding"], width: int = WIDTH) -> str:
    """All findings by family, in the order of the method: verdict, evidence, rule; what to try where shown."""
    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in VERDICTS}
    lines = [*_wrapped(f"{run}: " + ", ".join(f"{n} {name}" for name, n in counts.items() if n), "", width)]
    for family in FAMILIES:
        lines += ["", f"{family}?"]
        for one in findings:
            if one.family == family:
                lines += _lines(one, width)
    return "\n".join([*lines, "", *_wrapped(_MEANING, "", width)]) + "\n"


def as_json(run: str, findings: Sequence["Finding"]) -> dict[str, Any]:
    """The findings as plain data; what is not known is null."""
    return {"run": run, "findings": [asdict(one) for one in findings]}


def _lines(one: "Finding", width: int) -> list[str]:
    told = _wrapped(f"{one.signature}: {one.evidence}", f"  {one.verdict:<14}", width)
    told += _wrapped(f"rule: {one.rule}", _MARGIN, width)
    return told + (_wrapped(f"try: {one.advice}", _MARGIN, width) if one.verdict == "shown" else [])


def _wrapped(text: str, start: str, width: int) -> list[str]:
    """Lines of at most `width` columns; names are never cut in two."""
    rest = " " * len(start)
    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
