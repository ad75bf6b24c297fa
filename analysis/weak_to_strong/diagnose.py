"""`w2s diagnose`: which failure signatures of the method a run shows, by the rules of `diagnose_rules`.

Each rule is applied to a measured quantity with its interval. Gold answers are read for this only.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from typing import Any, Final

from analysis.reading.contrasts import difference
from analysis.reading.frame import StoreLike, load_frames
from analysis.reading.groups import Group, default_split, make_groups
from analysis.weak_to_strong.calibration import VOTE, interval_of
from analysis.weak_to_strong.diagnose_measures import (
    agreement,
    calibration_error,
    chosen_wrong,
    hard_over_easy,
    kept_and_dropped,
    loss_halves,
    pair_lengths,
    purity_gap,
    rejected_right,
    response_lengths,
    shared_errors,
    weak_side,
)
from analysis.weak_to_strong.diagnose_rules import (
    CHOSEN,
    DRIFT,
    EASY,
    ELICITED,
    FAMILIES,
    GAIN,
    IMPURE,
    LATER,
    OVERFIT,
    OVERSURE,
    PAIR_LENGTH,
    RANKS,
    RARE,
    REJECTED,
    RULES,
    SHARED,
    VERDICTS,
    Rule,
    Verdict,
)
from analysis.weak_to_strong.titles import METHODS, iterations, method_name
from w2s_core.statistics import Estimate

__all__ = ["RULES", "Finding", "diagnose"]

Names = Mapping[str, str]
_AWAY: Final = {"dpo": "raise", "orpo": "lower"}
"""Which way beta keeps a method near M_plus: DPO's holds it there, ORPO's weighs the preference."""


@dataclass(frozen=True)
class Finding:
    """A rule applied to a run.

    Attributes:
        value, low, high: the measured quantity and the ends of its 95 % interval, as shares, differences of shares or
            ratios; None where there is nothing to measure, or no interval.
        n, groups: questions, and independent groups of them (templates); 0 where there is nothing to measure.
        evidence: the same in words; or why there is nothing to measure.
        advice: what to try where the signature is shown.
    """

    family: str
    signature: str
    rule: str
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    n: int
    groups: int
    evidence: str
    advice: str


def diagnose(store: StoreLike, run: str) -> list[Finding]:
    """Every rule applied to a run, in the order of the method.

    Raises:
        UserError: no such run, or results that cannot be read.
    """
    frames = load_frames(store, [run])
    [group] = make_groups(frames, default_split(frames))
    names = _names(group)
    found = [_found(group, rule, names) for rule in (*STAGE_ONE_RULES, *STAGE_TWO_RULES)]
    trained = [method for method in METHODS if method in group.planned()]
    for method in trained:
        losses = loss_halves(store, frames.records[run].get("steps"), f"prefer:{method}")
        found += _stage_two(group, names | _method_names(method), losses)
    if not trained:
        found += [_without_stage_two(rule, names) for rule in (DRIFT, OVERFIT)]
    return found + [_found(group, rule, names) for rule in (GAIN, ELICITED)]


STAGE_ONE_RULES: Final = (RARE, IMPURE, EASY, SHARED, LATER)
STAGE_TWO_RULES: Final = (OVERSURE, RANKS, CHOSEN, REJECTED, PAIR_LENGTH)
MEASURES: Final[Mapping[Rule, Callable[[Group, Names], Estimate | None]]] = {
    RARE: lambda group, _: agreement(group),
    IMPURE: lambda group, _: purity_gap(group),
    EASY: lambda group, _: hard_over_easy(group),
    SHARED: lambda group, _: shared_errors(group),
    LATER: lambda group, names: difference([group], names["m_plus"], names["before"]),
    OVERSURE: lambda group, _: interval_of(group, VOTE, "overconfidence"),
    RANKS: lambda group, _: interval_of(group, VOTE, "auroc"),
    CHOSEN: lambda group, _: chosen_wrong(group),
    REJECTED: lambda group, _: rejected_right(group),
    PAIR_LENGTH: lambda group, _: pair_lengths(group),
    DRIFT: lambda group, names: response_lengths(group, names["method"]),
    OVERFIT: lambda group, names: difference([group], names["method"], names["m_plus"]),
    GAIN: lambda group, names: difference([group], names["m_plus"], "weak_floor"),
    ELICITED: lambda group, names: difference([group], names["m_plus"], "weak_icl"),
}
DETAILS: Final[Mapping[Rule, Callable[[Group], str]]] = {
    OVERSURE: calibration_error,
    RANKS: kept_and_dropped,
}


def _names(group: Group) -> dict[str, str]:
    """What the texts of rules may name of a run."""
    numbers = [one.removeprefix("agreed_") for one in group.sets() if one.startswith("agreed_")]
    agreed = f"agreed_{max((int(one) for one in numbers if one.isdecimal()), default=1)}"  # there or not
    last = max(1, iterations(group))
    before = f"hybrid_ft_{last - 1}" if last > 1 else "the iteration before"
    names = {"agreed": agreed, "side": weak_side(agreed), "m_plus": f"hybrid_ft_{last}"}
    return names | {"before": before, "split": group.split}


def _method_names(method: str) -> dict[str, str]:
    return {"method": method, "title": method_name(method), "label": method.upper(), "beta": _AWAY[method]}


def _found(group: Group, rule: Rule, names: Names) -> Finding:
    absent = _absent(group, rule, names)
    measured = None if absent else MEASURES[rule](group, names)
    if measured is None or isnan(measured.value):
        return _no_data(rule, names, absent or rule.empty)
    value, low, high = measured.value, measured.low, measured.high
    known = not (isnan(low) or isnan(high))
    details = DETAILS[rule](group) if rule in DETAILS else ""
    advice = rule.advice_below if rule.advice_below and value < rule.mirror else rule.advice
    return Finding(
        family=rule.family,
        signature=rule.signature.format(**names),
        rule=rule.sentence.format(**names),
        verdict=rule.verdict(low, high),
        value=value,
        low=low if known else None,
        high=high if known else None,
        n=measured.n,
        groups=measured.clusters,
        evidence="; ".join(filter(None, [rule.interval(value, low, high), _size(measured), details])),
        advice=advice.format(**names),
    )


def _size(measured: Estimate) -> str:
    grouped = f" in {measured.clusters} templates" if measured.clusters < measured.n else ""
    return f"n = {measured.n:,} questions{grouped}"


def _no_data(rule: Rule, names: Names, reason: str) -> Finding:
    signature, sentence, advice = (
        text.format(**names) for text in (rule.signature, rule.sentence, rule.advice)
    )
    return Finding(rule.family, signature, sentence, "no data", None, None, None, 0, 0, reason, advice)


def _absent(group: Group, rule: Rule, names: Names) -> str:
    """Why a rule cannot be applied: which targets the run does not have, or not yet; empty where it has all."""
    if rule is LATER and iterations(group) < 2:
        return "the run has one iteration of Stage I (stage1.iterations)"
    needed = [label.format(**names) for label in rule.needs]
    if unplanned := [label for label in needed if label not in group.labels]:
        return f"the run has no target {', '.join(unplanned)}"
    if missing := [label for label in needed if not group.having(label)]:
        return f"not computed yet, or damaged: {', '.join(missing)}; the run's command goes on with it"
    return ""


def _stage_two(group: Group, names: Names, losses: tuple[float, float] | None) -> list[Finding]:
    return [_found(group, DRIFT, names), _with_loss(_found(group, OVERFIT, names), losses)]


def _with_loss(found: Finding, losses: tuple[float, float] | None) -> Finding:
    """Over-fitting needs a training loss that falls: a loss that does not is another trouble."""
    if found.verdict == "no data":
        return found
    if losses is None:
        unknown: Verdict = "not resolved" if found.verdict == "shown" else found.verdict
        return replace(found, verdict=unknown, evidence=f"{found.evidence}; training loss not recorded")
    earlier, later = losses
    told = f"{found.evidence}; training loss {earlier:.3g}, then {later:.3g}"
    verdict: Verdict = "not shown" if found.verdict == "shown" and later >= earlier else found.verdict
    return replace(found, verdict=verdict, evidence=told)


def _without_stage_two(rule: Rule, names: Names) -> Finding:
    named = {**names, "method": "METHOD", "title": "DPO or ORPO", "label": "DPO, ORPO", "beta": "change"}
    return _no_data(rule, named, "the run trains neither DPO nor ORPO (stage2.methods)")


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
