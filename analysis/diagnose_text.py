"""The findings of `w2s diagnose` for a terminal."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from analysis.diagnose_rules import FAMILIES, VERDICTS

if TYPE_CHECKING:
    from analysis.diagnose import Finding

WIDTH: Final = 100
_MARGIN: Final = " " * 16
_MEANING: Final = (
    "shown: the whole 95 % interval lies beyond the rule's limit; not shown: on the other side; not resolved: the "
    "interval holds the limit, which more questions would narrow. Intervals are over questions, grouped by template "
    "where templates are named; they are not corrected for the number of rules, and say nothing about other seeds."
)


def render(run: str, findings: Sequence["Finding"], width: int = WIDTH) -> str:
    """All findings by family, in the order of the method: verdict, evidence, rule; and what to try where it is shown."""
    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in VERDICTS}
    lines = [*_wrapped(f"{run}: " + ", ".join(f"{n} {name}" for name, n in counts.items() if n), "", width)]
    for family in FAMILIES:
        lines += ["", f"{family}?"]
        for one in findings:
            if one.family == family:
                lines += _lines(one, width)
    return "\n".join([*lines, "", *_wrapped(_MEANING, "", width)]) + "\n"


def _lines(one: "Finding", width: int) -> list[str]:
    head = f"  {one.verdict:<14}"
    told = textwrap.wrap(
        f"{one.signature}: {one.evidence}", width, initial_indent=head, subsequent_indent=_MARGIN
    )
    told += _wrapped(f"rule: {one.rule}", _MARGIN, width)
    return told + (_wrapped(f"try: {one.advice}", _MARGIN, width) if one.verdict == "shown" else [])


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent))
