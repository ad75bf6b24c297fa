"""Names, order and meaning of the methods and labelled sets, one place for tables, figures and findings."""

import re
from collections.abc import Iterable

_NAMES = {
    "weak_floor": "weak floor",
    "zero_shot": "strong, zero-shot",
    "full_weak_ft": "full weak FT",
    "weak_icl": "weak ICL",
    "dpo": "M_plus + DPO",
    "orpo": "M_plus + ORPO",
    "ceiling": "strong ceiling",
}
CONTROLS = {
    "icl_all": "control: all ICL",
    "random_subset": "control: random",
    "gold_on_agreed": "control: gold",
}
_STAGE_ONE = re.compile(r"(weak|icl|hybrid)_ft_(\d+)")
_CONTROL = re.compile(rf"({'|'.join(CONTROLS)})(?:_(\d+))?")
_SIDES = ("weak", "icl", "hybrid")


def method_name(method: str, m_plus: str = "") -> str:
    """What tables call a method; the last hybrid-ft is marked as M_plus."""
    if found := _STAGE_ONE.fullmatch(method):
        alias = " = M_plus" if method == m_plus else ""
        return f"{found[1]}-ft {found[2]}{alias}"
    if found := _CONTROL.fullmatch(method):
        return CONTROLS[found[1]] + (f" {found[2]}" if found[2] else "")
    return _NAMES.get(method, method)


def is_control(method: str) -> bool:
    """Whether a method is a comparison beside the paper's own."""
    return _CONTROL.fullmatch(method) is not None


def ordered(methods: Iterable[str]) -> list[str]:
    """Methods in the order of the paper: baselines, Stage I by iteration, Stage II, ceiling; then controls, others."""
    return sorted(dict.fromkeys(methods), key=_rank)


def _rank(method: str) -> tuple[int, int, int, str]:
    if found := _STAGE_ONE.fullmatch(method):
        return 1, int(found[2]), _SIDES.index(found[1]), method
    if _CONTROL.fullmatch(method):
        return 4, 0, 0, method
    before = ["weak_floor", "zero_shot", "full_weak_ft", "weak_icl"]
    after = ["dpo", "orpo", "ceiling"]
    if method in before:
        return 0, before.index(method), 0, method
    if method in after:
        return 2, after.index(method), 0, method
    return 5, 0, 0, method


def set_name(name: str) -> str:
    """What tables call a labelled set of train_2."""
    side, _, number = name.rpartition("_")
    if name == "weak_0":
        return "D_weak"
    if name == "icl_0":
        return "D_icl"
    if side in ("agreed", "dropped"):
        return f"{side} {number}"
    if side in ("weak", "icl"):
        return f"{side}-ft {number}, answers"
    return name


def ordered_sets(names: Iterable[str]) -> list[str]:
    """Labelled sets by iteration: the two sides, then what they agree on, then the rest."""

    def rank(name: str) -> tuple[int, int, str]:
        side, _, number = name.rpartition("_")
        order = ("weak", "icl", "agreed", "dropped")
        if side not in order or not number.isdigit():
            return 10**6, 0, name
        return int(number) - (side in ("agreed", "dropped")), order.index(side), name

    return sorted(dict.fromkeys(names), key=rank)
