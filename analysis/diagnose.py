"""`w2s diagnose`: which failure signatures of the method a run shows, by stated rules over measured quantities.

A rule names a quantity and a limit. Where the quantity's whole 95 % interval lies beyond the limit, the signature is
shown; where it lies on the other side, it is not shown; where the interval holds the limit, it is not resolved. Limits
are our choice, on the side of caution, and stand in `RULES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any, Final, Literal

from analysis.calibration import VOTE, interval_of
from analysis.contrasts import difference
from analysis.frame import StoreLike, load_frames
from analysis.groups import Group, default_split, make_groups
from analysis.methods import method_name
from analysis.signature_measures import (
    agreement,
    chosen_wrong,
    easy_minus_hard,
    pair_lengths,
    response_lengths,
    shared_errors,
    training_loss,
)
from w2s_core.statistics import Estimate

Verdict = Literal["shown", "not shown", "not resolved", "no data"]
STAGE_ONE: Final = "Stage I underperforms"
STAGE_TWO: Final = "Stage II degrades"
NO_GAIN: Final = "No gain over the floor"


@dataclass(frozen=True)
class Rule:
    """One signature.

    Attributes:
        signature: what goes wrong, in a few words.
        quantity: what is measured, as the sentence of the rule begins.
        limit: beyond which the signature is shown; with `both`, also beyond its mirror image.
        above: beyond means above; else below.
        scale: `percent`, `points` or `ratio`.
        advice: what to try.
        both: of a ratio, 1/limit is the lower limit; of points, -limit.
    """

    family: str
    signature: str
    quantity: str
    limit: float
    above: bool
    scale: Literal["percent", "points", "ratio"]
    advice: str
    both: bool = False


@dataclass(frozen=True)
class Finding:
    """A rule applied to a run. `value`, `low`, `high` are None where there is nothing to measure."""

    family: str
    signature: str
    rule: str
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    evidence: str
    advice: str


RARE = Rule(
    STAGE_ONE, "agreement is too rare", "the share of train_2 that the last agreement keeps", 0.15, False, "percent",
    "lower stage1.consistency, draw more answers a side (stage1.samples), or take a better weak model",
)  # fmt: skip
EASY = Rule(
    STAGE_ONE, "agreement is precise on easy questions only",
    "precision of the agreed labels on the easier half of the levels minus that on the harder half", 0.10, True,
    "points", "raise stage1.consistency for purer labels, or add iterations (stage1.iterations)",
)  # fmt: skip
SHARED = Rule(
    STAGE_ONE, "both sides make the same errors",
    "where both sides are wrong, how often their answers are the same, beyond chance", 0.20, True, "points",
    "take a weak model of another family or other demonstrations (seed); agreement cannot filter shared errors",
)  # fmt: skip
OVERSURE = Rule(
    STAGE_TWO, "the vote is miscalibrated", "the vote's mean confidence minus its accuracy on train_2", 0.10, True,
    "points",
    "raise stage2.keep and stage2.flip, or draw more votes (stage2.samples)", both=True,
)  # fmt: skip
RANKS = Rule(
    STAGE_TWO, "confidence does not tell right from wrong", "AUROC of the vote's confidence on train_2", 0.65, False,
    "ratio", "thresholds on this confidence choose little: strengthen Stage I before Stage II",
)  # fmt: skip
CHOSEN = Rule(
    STAGE_TWO, "the chosen side is often wrong", "the share of pairs whose chosen side is wrong", 0.25, True, "percent",
    "raise stage2.keep (surer majorities) and stage2.flip",
)  # fmt: skip
PAIR_DRIFT = Rule(
    STAGE_TWO, "pairs differ in length", "mean length of the chosen sides over that of the rejected ones", 1.2, True,
    "ratio", "preference training may learn length: choose pairs of like length, or raise beta", both=True,
)  # fmt: skip
DRIFT = Rule(
    STAGE_TWO, "{label}: responses change in length", "mean length of {method}'s responses over that of M_plus's",
    1.2, True, "ratio", "lower stage2.{field}.learning_rate, or raise its beta", both=True,
)  # fmt: skip
OVERFIT = Rule(
    STAGE_TWO, "{label}: over-fitting", "{method} minus M_plus, held out, while the training loss falls",
    0.0, False, "points",
    "train less: stage2.{field}.epochs or learning_rate down",
)  # fmt: skip
GAIN = Rule(
    NO_GAIN, "the strong model learns nothing", "M_plus minus the weak floor", 0.02, False, "points",
    "the weak model may be too weak, or its labels too few: compare full weak FT and weak ICL in `w2s show`",
)  # fmt: skip
ELICITED = Rule(
    NO_GAIN, "training falls behind prompting", "M_plus minus weak ICL", 0.0, False, "points",
    "few-shot answers alone do better: check the size of the agreed set, and the training's length (sft.max_steps)",
)  # fmt: skip
RULES: Final = (RARE, EASY, SHARED, OVERSURE, RANKS, CHOSEN, PAIR_DRIFT, DRIFT, OVERFIT, GAIN, ELICITED)


def diagnose(store: StoreLike, run: str) -> list[Finding]:
    """Every rule applied to a run, in the order of the method.

    Raises:
        UserError: no such run, or results that cannot be read.
    """
    frames = load_frames(store, [run])
    [group] = make_groups(frames, default_split(frames))
    steps: Mapping[str, str] = frames.records[run].get("steps") or {}
    single: Sequence[tuple[Rule, Callable[[Group], Estimate | None]]] = (
        (RARE, agreement),
        (EASY, easy_minus_hard),
        (SHARED, shared_errors),
        (OVERSURE, lambda group: interval_of(group, VOTE, "overconfidence")),
        (RANKS, lambda group: interval_of(group, VOTE, "auroc")),
        (CHOSEN, chosen_wrong),
        (PAIR_DRIFT, pair_lengths),
    )
    found = [_applied(rule, measure(group)) for rule, measure in single]
    for method in ("dpo", "orpo"):
        if method in group.planned():
            found += _stage_two(group, method, training_loss(store, steps, f"prefer:{method}"))
    found.append(_applied(GAIN, difference([group], group.m_plus, "weak_floor")))
    found.append(_applied(ELICITED, difference([group], group.m_plus, "weak_icl")))
    return found


def _stage_two(group: Group, method: str, losses: tuple[float, float] | None) -> list[Finding]:
    named = {"method": method_name(method), "field": method, "label": method.upper()}
    drift = _applied(DRIFT, response_lengths(group, method), named)
    overfit = _applied(OVERFIT, difference([group], method, group.m_plus), named)
    return [drift, _with_loss(overfit, losses)]


def _with_loss(found: Finding, losses: tuple[float, float] | None) -> Finding:
    """Over-fitting needs a training loss that falls: a loss that does not is another trouble."""
    if found.verdict == "no data" or losses is None:
        return found
    first, last = losses
    told = f"{found.evidence}; training loss {first:.3f} to {last:.3f}"
    verdict = "not shown" if found.verdict == "shown" and last >= first else found.verdict
    return Finding(**{**asdict(found), "evidence": told, "verdict": verdict})


def _applied(rule: Rule, measured: Estimate | None, named: Mapping[str, str] | None = None) -> Finding:
    texts = (rule.signature, rule.quantity, rule.advice)
    signature, quantity, advice = (text.format(**(named or {})) for text in texts)
    stated = f"rule: {quantity}, {_limits(rule)}"
    if measured is None or isnan(measured.value):
        return Finding(
            rule.family,
            rule.signature,
            stated,
            "no data",
            None,
            None,
            None,
            "the run has no such results",
            advice,
        )
    value, low, high = measured.value, measured.low, measured.high
    verdict = _verdict(rule, low, high)
    evidence = f"{_number(rule, value)} [{_number(rule, low)}, {_number(rule, high)}]"
    return Finding(rule.family, signature, stated, verdict, value, low, high, evidence, advice)


def _verdict(rule: Rule, low: float, high: float) -> Verdict:
    if isnan(low):
        return "not resolved"
    beyond, within = (
        (low > rule.limit, high <= rule.limit) if rule.above else (high < rule.limit, low >= rule.limit)
    )
    if rule.both:
        mirror = 1 / rule.limit if rule.scale == "ratio" else -rule.limit
        beyond, within = beyond or high < mirror, within and low >= mirror
    return "shown" if beyond else "not shown" if within else "not resolved"


def _limits(rule: Rule) -> str:
    told = f"{'above' if rule.above else 'below'} {_number(rule, rule.limit)}"
    if not rule.both:
        return told
    mirror = 1 / rule.limit if rule.scale == "ratio" else -rule.limit
    return f"{told} or below {_number(rule, mirror)}"


def _number(rule: Rule, value: float) -> str:
    if isnan(value):
        return "?"
    if rule.scale == "ratio":
        return f"{value:.2f}"
    return f"{100 * value:.1f} %" if rule.scale == "percent" else f"{100 * value:+.1f} points"


def render(run: str, findings: Sequence[Finding], width: int = 100) -> str:
    """The findings for a terminal: what is shown first, by family, with evidence, rule and advice."""
    import textwrap

    counted = {verdict: [one for one in findings if one.verdict == verdict] for verdict in _VERDICTS}
    lines = [
        f"{run}: " + ", ".join(f"{len(ours)} {verdict}" for verdict, ours in counted.items() if ours),
        "",
    ]
    for family in (STAGE_ONE, STAGE_TWO, NO_GAIN):
        lines.append(f"{family}?")
        for one in (one for one in findings if one.family == family):
            lines.append(f"  {one.verdict:<13} {one.signature}: {one.evidence}")
            told = [one.rule] + ([f"try: {one.advice}"] if one.verdict == "shown" else [])
            for text in told:
                lines += textwrap.wrap(text, width, initial_indent=" " * 16, subsequent_indent=" " * 16)
        lines.append("")
    lines += textwrap.wrap(
        "shown: the whole 95 % interval (over questions, clustered by template) lies beyond the limit; not shown: on "
        "the other side; not resolved: the interval holds the limit. One run says nothing about other seeds.",
        width,
    )
    return "\n".join(lines) + "\n"


_VERDICTS: Final[tuple[Verdict, ...]] = ("shown", "not resolved", "not shown", "no data")


def as_json(run: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as plain data."""
    return {"run": run, "findings": [asdict(one) for one in findings]}
