"""The paper's findings F1-F9 as rules over experiments that differ in their weak model, each over its seeds.

Every claim is an effect that the paper says is above 0, judged with p corrected over the claims of all findings. The
smallest effects that matter are our choice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import factorial, nan
from typing import Final

import numpy as np
import numpy.typing as npt

from w2s_analysis.parts.rules import Claim, Finding, Limit, Measured, Rule, judge, measure
from w2s_analysis.reading.contrasts import (
    between_groups,
    check_comparable,
    difference,
    mean_table,
    precision_gain,
    shared_seeds,
)
from w2s_analysis.reading.groups import PASS_K, Group, names_of, planned_methods
from w2s_analysis.weak_to_strong.titles import CONTROLS, METHODS, iterations, method_name
from w2s_core.statistics import Estimate

Groups = Sequence[Group]
Mask = npt.NDArray[np.bool_]

FAR_WEAKER: Final = 0.5
"""A weak model is far weaker when its floor is below this share of the ceiling (F2)."""

HARD_QUESTIONS: Final = 50
"""The hardest levels are taken from the top until they hold so many questions (F8)."""


def findings(groups: Groups) -> list[Finding]:
    """Test F1-F9 on experiments that differ in their weak model, each over its seeds.

    Raises:
        UserError: groups that differ in more than their weak model, or in their questions.
    """
    check_comparable(groups)
    return judge([measure(rule, groups) for rule in RULES], corrected=True)


def control_contrasts(groups: Groups) -> list[Claim]:
    """icl-ft of iteration 1 minus each control at matched steps, where the runs have them. Not among the claims."""
    return [
        _claim(groups, f"icl_ft_{method.removeprefix(control).strip('_') or '1'}", method)
        for control in CONTROLS
        for method in sorted(planned_methods(groups))
        if _base(method) == control
    ]


def _base(method: str) -> str:
    head, _, number = method.rpartition("_")
    return head if number.isdigit() else method


def _claim(groups: Groups, second: str, first: str, *, k: int = 1, chosen: Mask | None = None) -> Claim:
    name = f"{method_name(second)} minus {method_name(first)}{f' pass@{k}' if k > 1 else ''}"
    claim = _contrast(name, groups, lambda some: difference(some, second, first, k=k, chosen=chosen))
    planned = planned_methods(groups)
    absent = [method_name(method) for method in (second, first) if method not in planned]
    return replace(claim, untested=f"no run here has {' or '.join(absent)}") if groups and absent else claim


def _contrast(name: str, groups: Groups, effect: Callable[[Groups], Estimate | None]) -> Claim:
    """An effect over all weak models, and in each alone."""
    if not groups:
        return Claim(name, None)
    return Claim(name, effect(groups), {group.name: effect([group]) for group in groups})


def _last(groups: Groups) -> int:
    return min(iterations(group) for group in groups)


def _plus(groups: Groups) -> str:
    return f"hybrid_ft_{_last(groups)}"


def _stage_two(groups: Groups) -> list[str]:
    planned = planned_methods(groups)
    return [method for method in METHODS if method in planned] or ["dpo", "orpo"]


def _contrasts(
    *claims: tuple[str, str], beside: Sequence[tuple[str, str]] = ()
) -> Callable[[Groups], Measured]:
    """Differences of methods, whose names may hold the number of the last iteration as `{last}`."""

    def measured(groups: Groups) -> Measured:
        last = _last(groups)
        claimed, others = (
            [_claim(groups, second.format(last=last), first.format(last=last)) for second, first in pairs]
            for pairs in (claims, beside)
        )
        return Measured(claimed, others)

    return measured


def _f2(groups: Groups) -> Measured:
    far = [group for group in groups if _is_far_weaker(group)]
    beside = [_claim(groups, "weak_icl", "full_weak_ft")] if len(far) < len(groups) else []
    note = f"Far weaker here: {names_of(far) or 'none'}."
    claim = _claim(far, "weak_icl", "full_weak_ft")
    if not far and all(list(_floor_and(group, "ceiling")) for group in groups):
        claim = replace(claim, untested=f"no weak model's floor is below {FAR_WEAKER:g} of the ceiling")
    return Measured([claim], beside, note)


def _is_far_weaker(group: Group) -> bool:
    return any(floor < FAR_WEAKER * ceiling for floor, ceiling in _floor_and(group, "ceiling"))


def _floor_and(group: Group, method: str) -> Iterator[tuple[float, float]]:
    """Mean scores of the floor and of a method over the seeds that have both; nothing where none has."""
    seeds = shared_seeds([group], "weak_floor", method)
    if seeds:
        floor, strong = (float(mean_table([group], name, seeds).mean()) for name in ("weak_floor", method))
        yield floor, strong


def _f5(groups: Groups) -> Measured:
    icl, hybrid = f"icl_ft_{_last(groups)}", _plus(groups)
    return Measured([_claim(groups, hybrid, icl, k=PASS_K)], [_claim(groups, icl, hybrid)])


def _f6(groups: Groups) -> Measured:
    return Measured([_claim(groups, method, _plus(groups)) for method in _stage_two(groups)])


def _f7(groups: Groups) -> Measured:
    def gain(i: int) -> Claim:
        name = f"precision of agreed {i} minus D_weak"
        return _contrast(name, groups, lambda some: precision_gain(some, f"agreed_{i}", "weak_0"))

    return Measured([gain(1)], [gain(i) for i in range(2, _last(groups) + 1)])


def _f8(groups: Groups) -> Measured:
    levels, chosen = hardest_levels(groups[0])
    note = f"Hardest levels here: {', '.join(map(str, levels)) or 'none: no levels'} ({int(chosen.sum())} questions)."
    if not levels:
        claim = Claim(
            "Stage II minus ceiling on the hardest questions", None, untested="questions have no levels"
        )
        return Measured([claim], note=note)
    claims = [_claim(groups, method, "ceiling", chosen=chosen) for method in _stage_two(groups)]
    return Measured(claims, note=note)


def hardest_levels(group: Group) -> tuple[list[int], Mask]:
    """The hardest levels that together hold enough questions, and a mask of those questions."""
    at = np.array([level if isinstance(level, int) else -1 for level in group.levels], dtype=int)
    taken: list[int] = []
    for level in sorted(set(at.tolist()) - {-1}, reverse=True):
        taken.append(level)
        if np.isin(at, taken).sum() >= HARD_QUESTIONS:
            break
    return taken, np.isin(at, taken)


def _f9(groups: Groups) -> Measured:
    plus, name = _plus(groups), "M_plus, best weak model minus worst"
    scores = [(floor, strong, group) for group in groups for floor, strong in _floor_and(group, plus)]
    ranked = sorted(scores, key=lambda score: score[0])
    if len(ranked) < 2:
        return Measured([Claim(name, None, untested="it needs two weak models at least")])
    worst, best = ranked[0][2], ranked[-1][2]
    tau = _kendall([floor for floor, _, _ in ranked], [strong for _, strong, _ in ranked])
    note = (
        f"Best by floor: {best.name}, worst: {worst.name}; Kendall's tau of floor and M_plus over {len(ranked)} weak "
        f"models: {tau:+.2f}. {_rank_orders(len(ranked))}The p here speaks of these two weak models, over questions "
        "and seeds."
    )
    floors = Claim("weak floor, best weak model minus worst", between_groups(best, worst, "weak_floor"))
    return Measured([Claim(name, between_groups(best, worst, plus))], [floors], note)


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


RULES: Final[tuple[Rule[Groups], ...]] = (
    Rule(
        "F1",
        "Claim: strong ceiling minus full weak FT is above 0. Beside it: full weak FT minus weak floor, by weak model.",
        Limit(smallest=0.01, why="a smaller gap leaves nothing to recover"),
        _contrasts(("ceiling", "full_weak_ft"), beside=[("full_weak_ft", "weak_floor")]),
        "Full weak fine-tuning lies well below the strong ceiling, and can lie below the weak floor.",
    ),
    Rule(
        "F2",
        f"Claim: weak ICL minus full weak FT is above 0, over the weak models whose floor is below {FAR_WEAKER:g} of "
        "the ceiling.",
        Limit(smallest=0.01, why="for less, to prompt or to train is a matter of cost"),
        _f2, "Weak ICL beats full weak fine-tuning when the weak model is far weaker.",
    ),
    Rule(
        "F3", "Claims: weak-ft, icl-ft and hybrid-ft of the last iteration, each minus full weak FT, are above 0.",
        Limit(smallest=0.01, why="for less, the further samplings and trainings of Stage I do not pay"),
        _contrasts(*((f"{side}_ft_{{last}}", "full_weak_ft") for side in ("weak", "icl", "hybrid"))),
        "Stage I fine-tuning on the agreed sets beats fine-tuning on all weak data.",
    ),
    Rule(
        "F4",
        "Claim: hybrid-ft of iteration 2 minus iteration 1 is above 0. Beside it: the same for weak-ft, icl-ft.",
        Limit(smallest=0.01, why="for less, the sampling and trainings of an iteration do not pay"),
        _contrasts(
            ("hybrid_ft_2", "hybrid_ft_1"), beside=[("weak_ft_2", "weak_ft_1"), ("icl_ft_2", "icl_ft_1")]
        ),
        "A second iteration helps over the first.",
    ),
    Rule(
        "F5",
        f"Claim: pass@{PASS_K} of hybrid-ft minus icl-ft is above 0. Beside it: greedy icl-ft minus hybrid-ft, which "
        "may have either sign.",
        Limit(smallest=0.01, why="a right draw on 1 question in 100 more, for Stage II to learn from"),
        _f5, f"icl-ft may lead in greedy accuracy; hybrid-ft leads in pass@{PASS_K}.",
    ),
    Rule(
        "F6", "Claims: accuracy after DPO, and after ORPO, each minus M_plus, is above 0.",
        Limit(smallest=0.01, why="for less, the votes and the preference training do not pay"),
        _f6, "Stage II (DPO, ORPO) gains over M_plus.",
    ),
    Rule(
        "F7",
        "Claim: precision of the set agreed in iteration 1 minus D_weak's is above 0. Beside it: later iterations.",
        Limit(smallest=0.05, why="1 label in 20; for less, the questions that the filter drops are too high a price"),
        _f7, "Agreement filtering raises label precision a lot.",
    ),
    Rule(
        "F8",
        "Claims: DPO, and ORPO, each minus the ceiling on the hardest levels, is above 0. Hardest: from the top level "
        f"down until there are {HARD_QUESTIONS} questions.",
        Limit(smallest=0.02, why="one of 50 questions"),
        _f8, "M_pro passes the strong ceiling on the hardest questions.",
    ),
    Rule(
        "F9",
        "Claim: M_plus trained from the weak model with the highest floor, minus that from the one with the lowest, is "
        "above 0. Beside it: the difference of the floors.",
        Limit(smallest=0.01, why="for less, it does not pay to look for a better weak model"),
        _f9, "A better weak model gives a better strong model.",
    ),
)  # fmt: skip
