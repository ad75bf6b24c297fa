"""The columns of the runs table: what each is called, which target it reads, and which are shown at first.

A metric's id is `accuracy/SPLIT/METHOD`, `pass@10/SPLIT/METHOD`, `precision/SET` or `coverage/SET`. `m_plus` stands for
the last hybrid-ft and `agreed_last` for the last agreed set, so that runs of one and of two iterations share a column.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from analysis.reading.groups import PASS_K
from analysis.weak_to_strong.looks import COLOURS
from analysis.weak_to_strong.titles import method_name, ordered, ordered_sets
from w2s_core.recipes.weak_to_strong import set_title as set_name

PASS: Final = f"pass@{PASS_K}"
ACCURACY: Final = "accuracy"
M_PLUS: Final = "m_plus"
LAST_AGREED: Final = "agreed_last"
HEADLINE: Final = ("weak_floor", "weak_icl", M_PLUS, "dpo", "orpo", "ceiling")
_LABEL: Final = re.compile(r"[\w.@+=-]+(/[\w.@+=-]+)*")
"""Labels that columns are made of: they come from records and end up in formatters, which are code."""
_KINDS: Final = {"greedy": (ACCURACY, "share"), "samples": (PASS, "pass")}


@dataclass(frozen=True)
class Metric:
    """A column of numbers.

    Attributes:
        id: see the module's first lines.
        target: the label of the target that it is read from, as the run's record has it.
        measure: the name in `Measures`; `rows` is divided by the size of train_2.
    """

    id: str
    target: str
    measure: str


def metrics_of(targets: Iterable[str]) -> dict[str, Metric]:
    """The metrics that a run with these targets can have, by id."""
    found: dict[str, Metric] = {}
    for label in filter(_LABEL.fullmatch, targets):
        kind, _, rest = label.partition("/")
        if kind in _KINDS and "/" in rest:
            shown, measure = _KINDS[kind]
            found[f"{shown}/{rest}"] = Metric(f"{shown}/{rest}", label, measure)
        elif kind == "labels" and rest:
            found[f"precision/{rest}"] = Metric(f"precision/{rest}", label, "share")
            if not rest.startswith("pairs_"):
                found[f"coverage/{rest}"] = Metric(f"coverage/{rest}", label, "rows")
    return found | dict(_aliases(found))


def _aliases(found: Mapping[str, Metric]) -> Iterable[tuple[str, Metric]]:
    """The last hybrid-ft of each split and the last agreed set, under names that do not count iterations."""
    for pattern, alias in ((r"(.*/)hybrid_ft_(\d+)", M_PLUS), (r"(.*/)agreed_(\d+)", LAST_AGREED)):
        last: dict[str, tuple[int, Metric]] = {}
        for name, metric in found.items():
            if match := re.fullmatch(pattern, name):
                last[match[1]] = max(
                    last.get(match[1], (0, metric)), (int(match[2]), metric), key=lambda one: one[0]
                )
        for prefix, (_, metric) in last.items():
            yield prefix + alias, Metric(prefix + alias, metric.target, metric.measure)


def title(metric: str) -> str:
    """What the page calls a metric: `accuracy, test: M_plus`."""
    kind, _, rest = metric.partition("/")
    if kind in ("precision", "coverage"):
        return f"{kind}: {_set_title(rest)}"
    split, _, method = rest.partition("/")
    return f"{kind}, {split}: {_method_title(method)}"


def short_title(metric: str) -> str:
    """The title below the heading that its columns share."""
    return title(metric).partition(": ")[2]


def heading(metric: str) -> str:
    """What columns of a kind share: `accuracy, test`."""
    return title(metric).partition(": ")[0]


def _method_title(method: str) -> str:
    return "M_plus" if method == M_PLUS else method_name(method)


def _set_title(name: str) -> str:
    named = {LAST_AGREED: "last agreed", "pairs_chosen": "chosen", "pairs_rejected": "rejected"}
    return named.get(name) or set_name(name)


def in_order(metrics: Iterable[str]) -> list[str]:
    """Accuracy, then pass@10, precision, coverage; in each, methods and sets in the order of the paper."""
    found = set(metrics)
    splits = sorted({m.split("/")[1] for m in found if m.startswith((ACCURACY, PASS))}, key=_split_rank)
    methods = _with_alias(ordered(m.split("/", 2)[2] for m in found if m.count("/") > 1), M_PLUS, "dpo")
    sets = _with_alias(ordered_sets(m.split("/")[1] for m in found if m.count("/") == 1), LAST_AGREED, None)
    graded = [f"{kind}/{split}/{one}" for kind in (ACCURACY, PASS) for split in splits for one in methods]
    labelled = [f"{kind}/{one}" for kind in ("precision", "coverage") for one in sets]
    return [metric for metric in (*graded, *labelled) if metric in found]


def _with_alias(names: list[str], alias: str, before: str | None) -> list[str]:
    """Put an alias before a name, or where there is none at the end of the paper's own names."""
    if alias not in names:
        return names
    names.remove(alias)
    stop = ("dpo", "orpo", "ceiling") if before else ("pairs_chosen", "pairs_rejected")
    at = next((i for i, name in enumerate(names) if name in stop), len(names))
    return [*names[:at], alias, *names[at:]]


def _split_rank(split: str) -> tuple[int, str]:
    return (("test", "dev").index(split) if split in ("test", "dev") else 2), split


def default_metrics(by_run: Iterable[Iterable[str]]) -> list[str]:
    """The headline metrics, on the split that most runs are graded on (test before dev)."""
    runs = [set(metrics) for metrics in by_run]
    splits = Counter(split for run in runs for split in {m.split("/")[1] for m in run if m.count("/") > 1})
    if not splits:
        return []
    split = min(splits, key=lambda one: (-splits[one], _split_rank(one)))
    wanted = [f"{ACCURACY}/{split}/{method}" for method in HEADLINE]
    wanted += [f"precision/{LAST_AGREED}", f"coverage/{LAST_AGREED}"]
    return [metric for metric in wanted if any(metric in run for run in runs)]


def differing(fields_by_run: Iterable[Mapping[str, Any]]) -> list[str]:
    """The fields that do not have one value in all runs, in the order of the first run; a missing one differs."""
    runs = list(fields_by_run)
    names = dict.fromkeys(name for fields in runs for name in fields)
    return [name for name in names if len({repr(fields.get(name)) for fields in runs}) > 1]


def colour(metric: str) -> str:
    """A method's colour is the same in every figure (`analysis.writing.figures`); labels take that of their side."""
    name = metric.rpartition("/")[2]
    if name in (M_PLUS, LAST_AGREED) or name.startswith(("hybrid", "agreed")):
        return COLOURS["hybrid"]
    named = {"weak_floor": "floor", "zero_shot": "floor", "full_weak_ft": "weak"}
    side = named.get(name) or name.partition("_")[0]
    return COLOURS.get(side, COLOURS["floor"])
