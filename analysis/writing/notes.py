"""What stands beneath every table: questions, seeds, clusters, the smallest effect it can show, runs and commands."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from math import isnan, nan

import numpy as np

from analysis.reading.groups import Group
from analysis.reading.titles import is_control, method_name
from w2s_core.statistics import Estimate, crossed_variance

NAMED_RUNS = 12
NAMED_COMMANDS = 1
NAMED_MISSING = 3


def footer(groups: Sequence[Group], smallest: str = "", *, counts: bool = False) -> list[str]:
    """The notes beneath a table over some groups.

    Args:
        smallest: a sentence on the smallest effect that the table can show, see `smallest_gain`.
        counts: say how many greedy responses were unparsed, timed out, truncated.
    """
    notes = [_questions_note(groups)]
    notes += [line for group in groups for line in _responses_note(group)] if counts else []
    notes += [smallest] if smallest else []
    return notes + missing_notes(groups) + run_notes(groups)


def _questions_note(groups: Sequence[Group]) -> str:
    counted = list(dict.fromkeys(questions_of(group) for group in groups))
    seeds = sorted({seed for group in groups for seed in group.seeds})
    if not any(group.ids for group in groups):
        return "Nothing is computed yet."
    scope = "over questions"
    scope += " and seeds." if len(seeds) > 1 else " only: one seed says nothing about other seeds."
    return f"n = {' or '.join(counted)}; seeds {', '.join(map(str, seeds))}; intervals 95 %, {scope}"


def questions_of(group: Group) -> str:
    """`500 test questions in 371 templates`."""
    return f"{len(group.ids)} {group.split} questions{in_templates(group.clusters)}"


def in_templates(clusters: Iterable[int] | None) -> str:
    """` in 371 templates`, of the template's number of each question; nothing where no question has one."""
    return f" in {len(set(clusters))} templates" if clusters is not None else ""


def _responses_note(group: Group) -> list[str]:
    """What went wrong with greedy responses, counted: an unparsed answer is no wrong answer, though it scores 0."""
    counted = group.counts("greedy")
    total = counted.pop("responses")
    parts = [f"{number:,} {name.replace('_', ' ')}" for name, number in counted.items()]
    return [f"Of {total:,} greedy responses above: {', '.join(parts)}."] if total else []


def smallest_gain(group: Group) -> str:
    """The smallest paired difference from M_plus that the data can show, as the median over the paper's methods."""
    found = []
    for method in group.planned():
        runs = group.present(method, group.m_plus)
        if method == group.m_plus or is_control(method) or not runs:
            continue
        difference = group.table(method, runs=runs) - group.table(group.m_plus, runs=runs)
        spread = crossed_variance(difference, group.clusters)
        if spread.known:
            found.append(spread.detectable())
    return smallest_note(f"A difference from {method_name(group.m_plus)}", found)


def smallest_effect(what: str, effects: Iterable[Estimate | None]) -> str:
    """The smallest effect that the data behind some effects can show, as the median over them."""
    known = (one.spread.detectable() for one in effects if one is not None and one.spread.known)
    return smallest_note(what, known)


def smallest_change(what: str, scores: Iterable[Estimate | None]) -> str:
    """The smallest distance of a single share from a known number that the data can show, as the median over some."""
    found = [one.spread.detectable() for one in scores if one is not None and one.spread.known]
    size = _median(found)
    if isnan(size):
        return ""
    found_how = "for that to be found in 4 of 5 tries (p < 0.05)"
    return f"{what} must lie {100 * size:.1f} points from a known number {found_how}."


def smallest_note(what: str, found: Iterable[float]) -> str:
    """A sentence on the minimum detectable effect (a share), at 80 % power and p < 0.05; empty if it is not known."""
    size = _median(found)
    if isnan(size):
        return ""
    return f"{what} must be about {100 * size:.1f} points to be found in 4 of 5 tries (paired, p < 0.05)."


def _median(found: Iterable[float]) -> float:
    """Of those that are known. Answers that are alike on every question show no chance at all, and so no size."""
    values = [one for one in found if one > 1e-12]  # nan is not
    return float(np.median(values)) if values else nan


def missing_notes(groups: Sequence[Group], concerns: Callable[[str], bool] = lambda label: True) -> list[str]:
    """What is missing in the store, and the commands that compute it."""
    absent = [(group, label, name) for group in groups for label, name in group.absent() if concerns(label)]
    if not absent:
        return []
    listed = ", ".join(f"{label} of {name}" for _, label, name in absent[:NAMED_MISSING])
    more = f" and {len(absent) - NAMED_MISSING} more" if len(absent) > NAMED_MISSING else ""
    commands = dict.fromkeys(command for group, _, name in absent for command in group.member(name).commands)
    return [f"Missing: {listed}{more}. To compute it: {_listed(list(commands))}"]


def run_notes(groups: Sequence[Group]) -> list[str]:
    """The runs behind a table, and what computed them."""
    runs = list(dict.fromkeys(run for group in groups for run in group.all_runs))
    commands = list(dict.fromkeys(command for group in groups for command in group.commands))
    more = f" and {len(runs) - NAMED_RUNS} more (runs.csv)" if len(runs) > NAMED_RUNS else ""
    notes = [f"run{'s' * (len(runs) > 1)}: {', '.join(runs[:NAMED_RUNS])}{more}"]
    return notes + ([f"computed by: {_listed(commands)}"] if commands else [])


def to_compute(groups: Sequence[Group], fields: str) -> str:
    """The command that computes more of these: the first one of a run, with other fields, without what names that run.

    fields: `field=value ...`, as a shell reads them.
    """
    for command in (one for group in groups for one in group.commands):
        typed = shlex.split(command)
        if typed[:1] == ["w2s"] and "run" in typed[1:4]:  # `w2s --store DIR run` too
            named = {
                i + more for i, part in enumerate(typed) if part in ("--name", "--out") for more in (0, 1)
            }
            return shlex.join(part for i, part in enumerate(typed) if i not in named) + f" {fields}"
    return ""


def _listed(commands: Sequence[str]) -> str:
    more = f"; and {len(commands) - NAMED_COMMANDS} more (runs.csv)" if len(commands) > NAMED_COMMANDS else ""
    return "; ".join(commands[:NAMED_COMMANDS]) + more
