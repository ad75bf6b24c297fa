"""What stands beneath every table: questions, seeds, clusters, the smallest effect it can show, runs and commands."""

import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from math import isnan, nan
from typing import Final

import numpy as np

from w2s_analysis.reading.groups import PASS_K, Group
from w2s_core.statistics import Estimate, crossed_variance

ONE_SEED: Final = "one seed: these models only"
"""The mark of what stands on one seed, whose interval misses the truth over seeds (`benchmarks/coverage.txt`)."""

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
    fewest = min((len(group.seeds) for group in groups), default=0)
    if not any(group.ids for group in groups):
        return "Nothing is computed yet."
    return f"n = {' or '.join(counted)}; seeds {', '.join(map(str, seeds))}; {intervals_over(fewest)}{_lone(groups)}."


def _lone(groups: Sequence[Group]) -> str:
    """That rows of which one of several seeds is there have intervals over questions only."""
    lone = any(
        len(group.present(name)) == 1 < len(group.runs) for group in groups for name in group.planned()
    )
    return f", of one of these seeds over questions only ({ONE_SEED})" if lone else ""


def intervals_over(seeds: int) -> str:
    """What the intervals of a table cover, in words; of one seed with the mark."""
    scope = "over questions and seeds" if seeds > 1 else f"over questions only ({ONE_SEED})"
    return f"intervals 95 %, {scope}"


def seeds_there(there: int, planned: int) -> str:
    """How many of the seeds have a result, for a row's name; empty where all or none have it."""
    if not 0 < there < planned:
        return ""
    return f" ({there}/{planned} seeds)"


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
    # Comparisons that come to no end are rare: they are named where there are any.
    named = {name: number for name, number in counted.items() if number or name != "undecided"}
    parts = [f"{number:,} {name.replace('_', ' ')}" for name, number in named.items()]
    return [f"Of {total:,} greedy responses above: {', '.join(parts)}."] if total else []


def smallest_gain(group: Group) -> str:
    """The smallest paired difference from the reference that the data can show, as the median over the other models;
    controls do not count. Empty where the method proposes no model.
    """
    reference = group.reference
    if reference is None:
        return ""
    sizes = []
    for method in group.planned():
        runs = group.present(method, reference)
        if method == reference or group.role(method) == "control" or not runs:
            continue
        difference = group.table(method, runs=runs) - group.table(reference, runs=runs)
        spread = crossed_variance(difference, group.clusters)
        if spread.known:
            sizes.append(spread.detectable())
    return smallest_note(f"A difference from {group.short_title(reference)}", sizes)


def smallest_effect(subject: str, effects: Iterable[Estimate | None]) -> str:
    """The smallest effect that the data behind some effects can show, as the median over them."""
    sizes = (effect.spread.detectable() for effect in effects if effect is not None and effect.spread.known)
    return smallest_note(subject, sizes)


def smallest_change(subject: str, scores: Iterable[Estimate | None]) -> str:
    """The smallest distance of a single share from a known number that the data can show, as the median over some."""
    size = _median(score.spread.detectable() for score in scores if score is not None and score.spread.known)
    if isnan(size):
        return ""
    return (
        f"{subject} must lie {100 * size:.1f} points from a known number for that to be found in 4 of 5 tries "
        "(p < 0.05)."
    )


def smallest_note(subject: str, sizes: Iterable[float]) -> str:
    """A sentence on the minimum detectable effect (a share), at 80 % power and p < 0.05; empty if it is not known."""
    size = _median(sizes)
    if isnan(size):
        return ""
    return f"{subject} must be about {100 * size:.1f} points to be found in 4 of 5 tries (paired, p < 0.05)."


def _median(sizes: Iterable[float]) -> float:
    """Of those that are known. Answers that are alike on every question show no chance at all, and so no size."""
    known = [size for size in sizes if size > 1e-12]  # nan is not
    return float(np.median(known)) if known else nan


def samples_note(group: Group) -> list[str]:
    """That runs with too few samples for pass@k are not in its column."""
    few = group.drawing_fewer(PASS_K)
    counts = ", ".join(f"{name} (seed {group.member(name).seed}) has {count}" for name, count in few.items())
    return [f"pass@{PASS_K} needs {PASS_K} samples a question and leaves out: {counts}."] if few else []


def missing_notes(groups: Sequence[Group], concerns: Callable[[str], bool] = lambda label: True) -> list[str]:
    """What is missing in the store, and the commands that compute it: those of the runs that are to have it."""
    absent = [(group, label, name) for group in groups for label, name in group.absent() if concerns(label)]
    if not absent:
        return []
    listed = ", ".join(f"{label} of {name}" for _, label, name in absent[:NAMED_MISSING])
    more = f" and {len(absent) - NAMED_MISSING} more" if len(absent) > NAMED_MISSING else ""
    typed = dict.fromkeys(group.member(name).command_for.get(label, "") for group, label, name in absent)
    commands = [command for command in typed if command]
    return [f"Missing: {listed}{more}." + (f" To compute it: {_listed(commands)}" if commands else "")]


def run_notes(groups: Sequence[Group]) -> list[str]:
    """The runs behind a table, and what computed them."""
    commands = list(dict.fromkeys(command for group in groups for command in group.commands))
    return run_list(groups) + ([f"computed by: {_listed(commands)}"] if commands else [])


def run_list(groups: Sequence[Group]) -> list[str]:
    """The runs behind a table, and what the user has said of the code that made their results."""
    runs = list(dict.fromkeys(run for group in groups for run in group.all_runs))
    more = f" and {len(runs) - NAMED_RUNS} more (runs.csv)" if len(runs) > NAMED_RUNS else ""
    return [*_accepted(groups), f"run{'s' * (len(runs) > 1)}: {', '.join(runs[:NAMED_RUNS])}{more}"]


def _accepted(groups: Sequence[Group]) -> list[str]:
    """By which of the user's acceptances results of these groups stand: today's code would have other keys."""
    lines: dict[str, None] = {}
    for group in groups:
        keys = (
            key for member in group.members for label, key in member.targets.items() if group.concerns(label)
        )
        lines |= dict.fromkeys(group.results.acceptances(keys))
    return accepted_note(lines)


def accepted_note(acceptances: Collection[str]) -> list[str]:
    """A note on the acceptances by which results stand; none where there is none."""
    return [f"Results stand by `w2s accept`: {'; '.join(acceptances)}."] if acceptances else []


def to_compute(groups: Sequence[Group], fields: str) -> str:
    """The command that computes more of these: the first one of a run, with other fields, without what names that run.

    fields: `field=value ...`, as a shell reads them.
    """
    for command in (command for group in groups for command in group.commands):
        typed = shlex.split(command)
        if _is_run(typed):
            named = {
                i + more for i, part in enumerate(typed) if part in ("--name", "--out") for more in (0, 1)
            }
            return shlex.join(part for i, part in enumerate(typed) if i not in named) + f" {fields}"
    return ""


def _is_run(typed: Sequence[str]) -> bool:
    """Whether a command is `w2s run`, with whatever options of `w2s` itself before `run`."""
    if typed[:1] != ["w2s"]:
        return False
    rest = list(typed[1:])
    while rest and rest[0].startswith("-"):
        del rest[: 1 if "=" in rest[0] else 2]  # an option and its value, in one word or two
    return rest[:1] == ["run"]


def _listed(commands: Sequence[str]) -> str:
    more = f"; and {len(commands) - NAMED_COMMANDS} more (runs.csv)" if len(commands) > NAMED_COMMANDS else ""
    return "; ".join(commands[:NAMED_COMMANDS]) + more
