"""The paper's findings F1-F9 as stated rules over measured quantities, with a verdict for each.

A finding makes claims; each claim is an effect that the paper says is above 0. A claim

* holds: the effect is above 0 with p < 0.05 after Holm's correction over all claims;
* fails: the whole 95 % interval lies below +1 point (`MARGIN`), so that no gain worth having is left;
* is not resolved: neither. It is not tested where results are missing.

A finding holds if all its claims hold, and fails if one fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import factorial, isnan, nan
from typing import Literal

import numpy as np

from analysis.reading.contrasts import (
    between_groups,
    check_comparable,
    difference,
    mean_table,
    precision_gain,
    shared_seeds,
)
from analysis.reading.groups import PASS_K, Group, names_of
from analysis.weak_to_strong.titles import CONTROLS, iterations, method_name
from w2s_core.statistics import Estimate, holm

Verdict = Literal["holds", "fails", "not resolved", "not tested"]

ALPHA = 0.05
MARGIN = 0.01
"""The smallest gain worth having, as a share (1 point)."""

FAR_WEAKER = 0.5
"""A weak model is far weaker when its floor is below this share of the ceiling (F2)."""

HARD_QUESTIONS = 50
"""The hardest levels are taken from the top until they hold so many questions (F8)."""


@dataclass(frozen=True)
class Claim:
    """One effect. `p_holm` is nan, and `verdict` "not tested", for an effect that is shown but not claimed."""

    name: str
    effect: Estimate | None
    by_weak: dict[str, Estimate | None] = field(default_factory=dict)
    p_holm: float = nan
    verdict: Verdict = "not tested"

    @property
    def p(self) -> float:
        """Two-sided p of "no effect", before correction."""
        return self.effect.p if self.effect is not None else nan


@dataclass(frozen=True)
class Finding:
    """A finding with its rule in words, its claims, and other effects to read beside them."""

    name: str
    statement: str
    rule: str
    claims: list[Claim]
    beside: list[Claim] = field(default_factory=list)
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """holds, fails, not resolved; or not tested, where any result that the rule needs is missing."""
        verdicts = [claim.verdict for claim in self.claims]
        if not verdicts or "not tested" in verdicts:
            return "fails" if "fails" in verdicts else "not tested"
        if "fails" in verdicts:
            return "fails"
        return "holds" if set(verdicts) == {"holds"} else "not resolved"


def findings(groups: Sequence[Group]) -> list[Finding]:
    """Test F1-F9 on experiments that differ in their weak model, each over its seeds.

    Raises:
        UserError: groups that differ in more than their weak model, or in their questions.
    """
    check_comparable(groups)
    made = [make(groups) for make in (_f1, _f2, _f3, _f4, _f5, _f6, _f7, _f8, _f9)]
    p_values = {(one.name, claim.name): claim.p for one in made for claim in one.claims}
    adjusted = holm(p_values)
    return [
        replace(one, claims=[_judge(c, adjusted[(one.name, c.name)]) for c in one.claims]) for one in made
    ]


def _judge(claim: Claim, p_holm: float) -> Claim:
    return replace(claim, p_holm=p_holm, verdict=judge(claim.effect, p_holm))


def judge(effect: Estimate | None, p_holm: float) -> Verdict:
    """The verdict on one claim (see the module's rule)."""
    if effect is None or isnan(effect.value) or isnan(p_holm):
        return "not tested"
    if effect.value > 0 and p_holm < ALPHA:
        return "holds"
    return "fails" if effect.high < MARGIN else "not resolved"


def control_contrasts(groups: Sequence[Group]) -> list[Claim]:
    """icl-ft of iteration 1 minus each control at matched steps, where the runs have them. Not among the claims."""
    found = []
    for control in CONTROLS:
        for method in sorted({m for group in groups for m in group.planned() if _base(m) == control}):
            number = method.removeprefix(control).strip("_") or "1"
            found.append(_claim(groups, f"icl_ft_{number}", method))
    return found


def _base(method: str) -> str:
    head, _, number = method.rpartition("_")
    return head if number.isdigit() else method


def _claim(
    groups: Sequence[Group],
    second: str,
    first: str,
    *,
    k: int = 1,
    chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]] | None" = None,
) -> Claim:
    measure = f" pass@{k}" if k > 1 else ""
    return _measured(
        f"{method_name(second)} minus {method_name(first)}{measure}",
        groups,
        lambda some: difference(some, second, first, k=k, chosen=chosen),
    )


def _measured(
    name: str, groups: Sequence[Group], measure: Callable[[Sequence[Group]], Estimate | None]
) -> Claim:
    """An effect over all weak models, and in each alone."""
    if not groups:
        return Claim(name, None)
    return Claim(name, measure(groups), {group.name: measure([group]) for group in groups})


def _last(groups: Sequence[Group]) -> int:
    return min(iterations(group) for group in groups)


def _f1(groups: Sequence[Group]) -> Finding:
    return Finding(
        "F1",
        "Full weak fine-tuning lies well below the strong ceiling, and can lie below the weak floor.",
        "Claim: strong ceiling minus full weak FT is above 0. Beside it: full weak FT minus weak floor, by weak model.",
        [_claim(groups, "ceiling", "full_weak_ft")],
        [_claim(groups, "full_weak_ft", "weak_floor")],
    )


def _f2(groups: Sequence[Group]) -> Finding:
    far = [group for group in groups if _is_far_weaker(group)]
    names = names_of(far) or "none"
    return Finding(
        "F2",
        "Weak ICL beats full weak fine-tuning when the weak model is far weaker.",
        f"Claim: weak ICL minus full weak FT is above 0, over the weak models whose floor is below {FAR_WEAKER:g} of "
        "the ceiling.",
        [_claim(far, "weak_icl", "full_weak_ft")],
        [_claim(groups, "weak_icl", "full_weak_ft")] if len(far) < len(groups) else [],
        note=f"Far weaker here: {names}.",
    )


def _is_far_weaker(group: Group) -> bool:
    seeds = shared_seeds([group], "weak_floor", "ceiling")
    if not seeds:
        return False
    floor, ceiling = (mean_table([group], method, seeds).mean() for method in ("weak_floor", "ceiling"))
    return bool(floor < FAR_WEAKER * ceiling)


def _f3(groups: Sequence[Group]) -> Finding:
    last = _last(groups)
    return Finding(
        "F3",
        "Stage I fine-tuning on the agreed sets beats fine-tuning on all weak data.",
        "Claims: weak-ft, icl-ft and hybrid-ft of the last iteration, each minus full weak FT, are above 0.",
        [_claim(groups, f"{side}_ft_{last}", "full_weak_ft") for side in ("weak", "icl", "hybrid")],
    )


def _f4(groups: Sequence[Group]) -> Finding:
    sides = [_claim(groups, f"{side}_ft_2", f"{side}_ft_1") for side in ("hybrid", "weak", "icl")]
    return Finding(
        "F4",
        "A second iteration helps over the first.",
        "Claim: hybrid-ft of iteration 2 minus iteration 1 is above 0. Beside it: the same for weak-ft, icl-ft.",
        sides[:1],
        sides[1:],
    )


def _f5(groups: Sequence[Group]) -> Finding:
    last = _last(groups)
    icl, hybrid = f"icl_ft_{last}", f"hybrid_ft_{last}"
    return Finding(
        "F5",
        f"icl-ft may lead in greedy accuracy; hybrid-ft leads in pass@{PASS_K}.",
        f"Claim: pass@{PASS_K} of hybrid-ft minus icl-ft is above 0. Beside it: greedy icl-ft minus hybrid-ft, which "
        "may have either sign.",
        [_claim(groups, hybrid, icl, k=PASS_K)],
        [_claim(groups, icl, hybrid)],
    )


def _stage_two(groups: Sequence[Group]) -> list[str]:
    planned = {method for group in groups for method in group.planned()}
    return [method for method in ("dpo", "orpo") if method in planned] or ["dpo", "orpo"]


def _f6(groups: Sequence[Group]) -> Finding:
    plus = f"hybrid_ft_{_last(groups)}"
    methods = _stage_two(groups)
    return Finding(
        "F6",
        "Stage II (DPO, ORPO) gains over M_plus.",
        "Claims: accuracy after DPO, and after ORPO, each minus M_plus, is above 0.",
        [_claim(groups, method, plus) for method in methods],
    )


def _f7(groups: Sequence[Group]) -> Finding:
    def gain(name: str) -> Claim:
        label = f"precision of agreed {name} minus D_weak"
        return _measured(label, groups, lambda some: precision_gain(some, f"agreed_{name}", "weak_0"))

    return Finding(
        "F7",
        "Agreement filtering raises label precision a lot.",
        "Claim: precision of the set agreed in iteration 1 minus D_weak's is above 0. Beside it: later iterations.",
        [gain("1")],
        [gain(str(i)) for i in range(2, _last(groups) + 1)],
    )


def _f8(groups: Sequence[Group]) -> Finding:
    levels, chosen = hardest_levels(groups[0])
    named = ", ".join(map(str, levels)) or "none: no levels"
    claims = [Claim("Stage II minus ceiling on the hardest questions", None)]
    if levels:
        claims = [_claim(groups, method, "ceiling", chosen=chosen) for method in _stage_two(groups)]
    return Finding(
        "F8",
        "M_pro passes the strong ceiling on the hardest questions.",
        f"Claims: DPO, and ORPO, each minus the ceiling on the hardest levels, is above 0. Hardest: from the top level "
        f"down until there are {HARD_QUESTIONS} questions.",
        claims,
        note=f"Hardest levels here: {named} ({int(chosen.sum())} questions).",
    )


def hardest_levels(group: Group) -> tuple[list[int], "np.ndarray[tuple[int], np.dtype[np.bool_]]"]:
    """The hardest levels that together hold enough questions, and a mask of those questions."""
    at = np.array([level if isinstance(level, int) else -1 for level in group.levels], dtype=int)
    taken: list[int] = []
    for level in sorted(set(at.tolist()) - {-1}, reverse=True):
        taken.append(level)
        if np.isin(at, taken).sum() >= HARD_QUESTIONS:
            break
    return taken, np.isin(at, taken)


def _f9(groups: Sequence[Group]) -> Finding:
    plus = f"hybrid_ft_{_last(groups)}"
    ranked = sorted(
        ((floor, strong, group) for group in groups for floor, strong in _floor_and(group, plus)),
        key=lambda one: one[0],
    )
    number = len(ranked)
    name = "M_plus, best weak model minus worst"
    claims, beside, note = [Claim(name, None)], [], "Two weak models at least are needed."
    if number > 1:
        worst, best = ranked[0][2], ranked[-1][2]
        claims = [Claim(name, between_groups(best, worst, plus))]
        beside = [Claim("weak floor, best weak model minus worst", between_groups(best, worst, "weak_floor"))]
        tau = _kendall([one[0] for one in ranked], [one[1] for one in ranked])
        note = (
            f"Best by floor: {best.name}, worst: {worst.name}; Kendall's tau of floor and M_plus over {number} weak "
            f"models: {tau:+.2f}. {_rank_orders(number)}The p here speaks of these two weak models, over questions and "
            "seeds."
        )
    return Finding(
        "F9",
        "A better weak model gives a better strong model.",
        "Claim: M_plus trained from the weak model with the highest floor, minus that from the one with the lowest, is "
        "above 0. Beside it: the difference of the floors.",
        claims,
        beside,
        note,
    )


def _floor_and(group: Group, method: str) -> Iterator[tuple[float, float]]:
    seeds = shared_seeds([group], "weak_floor", method)
    if seeds:
        floor, strong = (float(mean_table([group], one, seeds).mean()) for one in ("weak_floor", method))
        yield floor, strong


def _rank_orders(models: int) -> str:
    """That a rank test could show nothing, where models are so few."""
    orders = factorial(models)
    if 1 / orders < 0.05:
        return ""
    return f"{models} models have {orders} rank orders, so no rank test could give p below 1/{orders}. "


def _kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-a: pairs in one order, less pairs in the other, over all pairs."""
    pairs = [(i, j) for i in range(len(first)) for j in range(i)]
    signs = [np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]) for i, j in pairs]
    return float(np.mean(signs)) if signs else nan
