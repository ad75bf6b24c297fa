"""Stated rules: what a rule claims of a measured effect, the limit that the effect must lie beyond, and the verdict.

A recipe brings lists of rules: a paper's findings, or the signatures of a method's failures. A claim

* holds: the effect lies beyond the limit;
* fails: the opposite is shown, the effect lies on the other side of the limit;
* is bounded: the effect may lie beyond the limit, but not by as much as matters: that is outside its interval;
* is not resolved: none of these. It is not tested where results are missing, or where
  nothing in the runs speaks of it.

Where an effect lies is said by its whole 95 % interval; or, where the claims of a list are corrected together, by
p < 0.05 after Holm's correction. With one seed a verdict is marked: its interval is over questions only.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan
from typing import Any, Final, Generic, Literal, TypeVar

from w2s_analysis.writing.notes import ONE_SEED
from w2s_analysis.writing.table import is_wide
from w2s_core.statistics import Bounds, Estimate, holm

# "Verdict" is the grading's word for one response (right, wrong, ...); that of a claim is its outcome.
Outcome = Literal["holds", "fails", "bounded", "not resolved", "not tested"]
Subject = TypeVar("Subject")

ALPHA: Final = 0.05
WIDTH: Final = 100


@dataclass(frozen=True)
class Limit:
    """What an effect must lie beyond.

    Attributes:
        above: beyond means above; else below.
        scale: how numbers are printed: shares as per cent, differences of shares as points, or plain ratios.
        both: the mirror image of the limit counts too: 1 / value of a ratio, else -value.
        smallest: how far beyond the limit an effect must lie to matter; 0 where the limit is itself so chosen.
        why: the reason for that choice.
    """

    value: float = 0.0
    scale: Literal["percent", "points", "ratio"] = "points"
    above: bool = True
    both: bool = False
    smallest: float = 0.0
    why: str = ""

    @property
    def mirror(self) -> float:
        """The lower limit of two."""
        return 1 / self.value if self.scale == "ratio" else -self.value

    def judge(self, effect: Estimate | None, p: float | None = None) -> Outcome:
        """The outcome of one claim, by the p of "no effect" where one is passed, else by the interval."""
        if effect is None or isnan(effect.value) or (p is not None and isnan(p)):
            return "not tested"
        if isnan(effect.low) or isnan(effect.high):
            return "not resolved"
        # Distances beyond the limit: negative on its other side.
        sign = 1 if self.above else -1
        near, far = sorted(sign * (end - self.value) for end in (effect.low, effect.high))
        beyond, opposite = near > 0, far < 0
        if p is not None:  # corrected, which the interval is not
            distance = sign * (effect.value - self.value)
            beyond, opposite = p < ALPHA and distance > 0, p < ALPHA and distance < 0
        if self.both:
            beyond, opposite = beyond or effect.high < self.mirror, opposite and effect.low >= self.mirror
        if beyond or opposite:
            return "holds" if beyond else "fails"
        return "bounded" if far <= self.smallest and not self.both else "not resolved"

    @property
    def matter(self) -> str:
        """The smallest effect that matters, with the reason."""
        return f"{self.size} beyond it matters: {self.why}" if self.smallest else self.why

    @property
    def size(self) -> str:
        """The smallest effect that matters, counted from the limit, in points."""
        return f"{100 * self.smallest:g} point{'s' * (self.smallest != 0.01)}"

    def __str__(self) -> str:
        mirrored = f" or below {self._number(self.mirror)}" if self.both else ""
        return f"{'above' if self.above else 'below'} {self._number(self.value)}{mirrored}"

    def interval(self, effect: Estimate) -> str:
        """A value with its interval, the unit once."""
        if isnan(effect.low):
            return f"{self._number(effect.value)}, no interval: too few groups"
        value, low, high = map(self._digits, (effect.value, effect.low, effect.high))
        return f"{value} [{low}, {high}]{self._unit}{self._left_open(effect.bounds)}"

    def _left_open(self, bounds: Bounds | None) -> str:
        """What responses that were not graded leave open, if that is much."""
        if not is_wide(bounds):
            return ""
        lower, upper, low, high = map(self._digits, (bounds.lower, bounds.upper, bounds.low, bounds.high))
        return f" ({lower} to {upper} [{low}, {high}] by what responses are that were not graded)"

    def _number(self, value: float) -> str:
        return f"{self._digits(value)}{self._unit}"

    @property
    def _unit(self) -> str:
        return {"percent": " %", "points": " points", "ratio": ""}[self.scale]

    def _digits(self, value: float) -> str:
        if self.scale == "ratio":
            return f"{value:.2f}"
        if abs(100 * value) < 0.05:
            return "0.0"  # without the sign, which would be that of noise
        return format(100 * value, ".1f" if self.scale == "percent" else "+.1f")


@dataclass(frozen=True)
class Claim:
    """One effect, over all groups and in each alone.

    Attributes:
        name: empty where the rule has no other claim; it then takes the rule's criterion.
        condition: what else must hold; None where that is not known.
        p_holm: nan for an effect that is shown but not claimed, and where nothing is corrected.
        untested: why there can be no effect, whatever is computed; empty where results are missing.
    """

    name: str
    effect: Estimate | None
    by_group: dict[str, Estimate | None] = field(default_factory=dict)
    condition: bool | None = True
    p_holm: float = nan
    outcome: Outcome = "not tested"
    untested: str = ""

    @property
    def p(self) -> float:
        """Two-sided p of "no effect", before correction."""
        return self.effect.p if self.effect is not None else nan

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return self.effect is not None and not isnan(self.effect.value)

    @property
    def scope(self) -> str:
        """The mark of a verdict that covers one seed; else empty."""
        return ONE_SEED if self.outcome != "not tested" and self.effect and self.effect.seeds == 1 else ""

    def record(self) -> dict[str, Any]:
        """The claim as plain data; effects as shares, None where there is no number."""
        by_group = {name: _numbers(effect) for name, effect in self.by_group.items()}
        effects = {"p_holm": _known(self.p_holm), "effect": _numbers(self.effect), "by_group": by_group}
        words = {"name": self.name, "verdict": self.outcome, "scope": self.scope, "untested": self.untested}
        return words | effects


@dataclass(frozen=True)
class Measured:
    """What a rule finds in its subject: the effects that it claims, others to read beside them, and a note."""

    claims: list[Claim]
    beside: list[Claim] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """A stated rule over a subject, such as the groups of a study.

    Texts may name what `named` fills in.

    Attributes:
        criterion: how the rule decides, in words; of a signature its quantity, to which `sentence` adds the limit.
        statement: what the rule says where it holds, if its name does not.
        family: the heading under which it is listed.
        needs: the targets without which there is nothing to measure.
        empty: why there can be nothing to measure although all of them are there.
        condition: what else must hold, in words.
        advice, advice_below: what to try where the rule holds; beyond the lower of two limits.
    """

    name: str
    criterion: str
    limit: Limit
    measure: Callable[[Subject], Measured | Estimate | None]
    statement: str = ""
    family: str = ""
    needs: tuple[str, ...] = ()
    empty: str = ""
    condition: str = ""
    advice: str = ""
    advice_below: str = ""

    def named(self, names: Mapping[str, str]) -> "Rule[Subject]":
        """The rule with the names of one subject in its texts."""
        fields = {name: _filled(value, names) for name, value in vars(self).items()}
        return Rule(**fields)

    @property
    def sentence(self) -> str:
        """The criterion with its limit and its condition."""
        return f"{self.criterion}, {self.limit}" + (f", {self.condition}" if self.condition else "")


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, tuple):
        return tuple(_filled(part, names) for part in value)
    return value.format_map(names) if isinstance(value, str) else value


@dataclass(frozen=True)
class Finding(Measured):
    """A rule applied: its claims with their outcomes. The note says why, where nothing is measured."""

    rule: Rule[Any] = field(kw_only=True)

    @property
    def outcome(self) -> Outcome:
        """Of all claims together: the first of these that one of them has; "holds" if all do."""
        outcomes = {claim.outcome for claim in self.claims} or {"not tested"}
        order: tuple[Outcome, ...] = ("fails", "not tested", "bounded", "not resolved", "holds")
        return next(outcome for outcome in order if outcome in outcomes)

    @property
    def scope(self) -> str:
        """That of its claims."""
        return next(filter(None, (claim.scope for claim in self.claims)), "")

    @property
    def effect(self) -> Estimate | None:
        """That of the first claim, which is the only one of a signature; None where there is nothing to measure."""
        return self.claims[0].effect if self.claims[0].measured else None

    @property
    def evidence(self) -> str:
        """The first effect in words; or why there is none."""
        effect = self.effect
        if effect is None:
            return self.note
        templates = f" in {effect.clusters} templates" if effect.clusters < effect.n else ""
        size = f"n = {effect.n:,} questions{templates}"
        return "; ".join(filter(None, [self.rule.limit.interval(effect), size, self.note]))

    @property
    def advice(self) -> str:
        """What to try, by the side on which the effect lies."""
        rule, effect = self.rule, self.effect
        below = rule.limit.both and effect is not None and effect.value < rule.limit.mirror
        return rule.advice_below if below and rule.advice_below else rule.advice


def measure(rule: Rule[Subject], subject: Subject, absent: str = "") -> Finding:
    """What a rule finds, not judged yet; nothing where its targets are absent, which the text then says."""
    effects = None if absent else rule.measure(subject)
    if not isinstance(effects, Measured):
        effects = Measured([Claim("", effects)])
    claims = [replace(claim, name=claim.name or rule.criterion) for claim in effects.claims]
    reason = "" if any(claim.measured for claim in claims) else absent or rule.empty
    return Finding(claims, effects.beside, reason or effects.note, rule=rule)


def judge(findings: Sequence[Finding], *, corrected: bool) -> list[Finding]:
    """Judge the claims of all findings, each by its interval; or by p values corrected together (Holm)."""
    claims = {(finding.rule.name, claim.name): claim.p for finding in findings for claim in finding.claims}
    adjusted = holm(claims) if corrected else {}
    return [
        replace(finding, claims=[_judged(finding.rule, claim, adjusted) for claim in finding.claims])
        for finding in findings
    ]


def _judged(rule: Rule[Any], claim: Claim, adjusted: Mapping[tuple[str, str], float]) -> Claim:
    p = adjusted.get((rule.name, claim.name))
    outcome = rule.limit.judge(claim.effect, p)
    if outcome == "holds" and not claim.condition:
        outcome = "not resolved" if claim.condition is None else "fails"
    return replace(claim, p_holm=nan if p is None else p, outcome=outcome)


# Findings as data, and signatures as text
SHOWN: Final[Mapping[Outcome, str]] = {
    "holds": "shown", "not resolved": "not resolved", "bounded": "bounded", "fails": "not shown",
    "not tested": "no data",
}  # fmt: skip
"""How the outcomes of a signature are called: that a failure "fails" would be misread."""

_MEANING: Final = (
    "shown: the whole 95 % interval lies beyond the rule's limit; not shown: on the other side; bounded: it reaches "
    "beyond the limit, but not as far as matters; not resolved: none of these, which more questions would change. In "
    "brackets stands what matters and why. Intervals are over questions, grouped by template where templates are "
    "named; they are not corrected for the number of rules, and say nothing about other seeds."
)


def render(run: str, findings: Sequence[Finding], width: int = WIDTH) -> str:
    """Signatures by family, in the order of the method: verdict, evidence, rule; what to try where shown."""
    counts = {
        name: sum(finding.outcome == outcome for finding in findings) for outcome, name in SHOWN.items()
    }
    scope = next((f" ({finding.scope})" for finding in findings if finding.scope), "")
    listed = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    lines = _wrapped(f"{run}: {listed}{scope}", "", width)
    for family in dict.fromkeys(finding.rule.family for finding in findings):
        lines += ["", f"{family}?"]
        for finding in findings:
            lines += _lines(finding, width) if finding.rule.family == family else []
    return "\n".join([*lines, "", *_wrapped(_MEANING, "", width)]) + "\n"


def _lines(finding: Finding, width: int) -> list[str]:
    rule, margin = finding.rule, " " * 16
    head = f"  {SHOWN[finding.outcome]:<14}"
    lines = _wrapped(f"{rule.name}: {finding.evidence}", head, width)
    lines += _wrapped(f"rule: {rule.sentence} ({rule.limit.matter})", margin, width)
    return lines + (_wrapped(f"try: {finding.advice}", margin, width) if finding.outcome == "holds" else [])


def _wrapped(text: str, start: str, width: int) -> list[str]:
    """Lines of at most `width` columns; names are never cut in two."""
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    wrapper.initial_indent, wrapper.subsequent_indent = start, " " * len(start)
    return wrapper.wrap(text)


def records(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as plain data; what is not known is null."""
    return [
        {
            "name": finding.rule.name,
            "statement": finding.rule.statement,
            "rule": finding.rule.criterion,
            "limit": str(finding.rule.limit),
            "smallest": finding.rule.limit.matter,
            "verdict": finding.outcome,
            "scope": finding.scope,
            "note": finding.note,
            "advice": finding.advice,
            "claims": [claim.record() for claim in finding.claims],
            "beside": [claim.record() for claim in finding.beside],
        }
        for finding in findings
    ]


def _numbers(effect: Estimate | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    numbers = {name: _known(getattr(effect, name)) for name in ("value", "low", "high", "se", "p")}
    sizes = {"n": effect.n, "seeds": effect.seeds, "clusters": effect.clusters}
    bounds = {name: _known(value) for name, value in vars(effect.bounds).items()} if effect.bounds else None
    return numbers | sizes | ({"bounds": bounds} if bounds else {})


def _known(number: float) -> float | None:
    return None if isnan(number) else round(number, 9)
