"""Findings as one page of Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from w2s_analysis.parts.rules import ALPHA, Claim, Finding, Limit, records
from w2s_analysis.reading.groups import Group, differing_fields, names_of
from w2s_analysis.weak_to_strong.findings import control_contrasts, findings
from w2s_analysis.weak_to_strong.titles import strong_model
from w2s_analysis.writing.notes import ONE_SEED, questions_of, run_notes, smallest_effect
from w2s_analysis.writing.table import (
    Table,
    escape_prose,
    p_value,
    points_interval,
    probability,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    words,
)
from w2s_core.statistics import Estimate

MARK = "*"
"""Of a verdict of one seed in the terminal, where its words would take too much width."""

_VERDICTS = (
    f"Holds: above 0 with p < {ALPHA:g} after Holm's correction over all claims. Fails: the opposite is shown, below 0 "
    "with p so corrected. Bounded: neither, but the interval, which is not corrected, ends below the smallest effect "
    "that matters. Not resolved: none of these."
)
_COVERAGE = (
    f"{ONE_SEED.capitalize()}. Such an interval is over questions; it covers the truth over seeds in 53 to 92 % of "
    "simulated cases, not in 95 %."
)


def findings_table(tested: Sequence[Finding], mark: str = f" ({ONE_SEED})") -> Table:
    """All claims in one table: effect in points with its interval, p after Holm, n, verdict; `mark` tells one seed."""
    table = Table("Findings F1-F9, effects in points", ["", "claim", "effect", "p (Holm)", "n", "verdict"])
    table.left, table.spans = ("claim", "verdict"), ("effect",)
    table.rows = [
        {
            "": words(finding.rule.name if claim is finding.claims[0] else ""),
            "claim": words(claim.name),
            "effect": points_interval(claim.effect),
            "p (Holm)": p_value(claim.p_holm),
            "n": words(str(claim.effect.n) if claim.effect else "–"),
            "verdict": words(claim.outcome + (mark if claim.scope else "")),
        }
        for finding in tested
        for claim in finding.claims
    ]
    return table


def save_findings(groups: Sequence[Group], folder: Path, command: str = "") -> tuple[str, list[Path]]:
    """Test the findings and write them: `findings.md`, the page; its table as `.csv` and `.tex`; all of it as `.json`.

    Returns the table for a terminal, and the files.

    Raises:
        UserError: groups that cannot be compared.
    """
    tested, controls = findings(groups), control_contrasts(groups)
    folder.mkdir(parents=True, exist_ok=True)
    table, record = findings_table(tested), as_json(groups, tested, controls, command)
    noted = replace(table, notes=[*_beneath(groups, tested, command), *_how_to_read(groups)])
    texts = {
        "findings.md": page(groups, tested, controls, command),
        "findings.json": json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "findings.csv": to_csv(table),
        "findings.tex": to_latex(noted),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    narrow = findings_table(tested, MARK)
    narrow.notes = [f"{MARK} {ONE_SEED}."] if any(finding.scope for finding in tested) else []
    return to_terminal(narrow), [folder / name for name in texts]


def page(
    groups: Sequence[Group], tested: Sequence[Finding], controls: Sequence[Claim], command: str = ""
) -> str:
    """The findings in plain words, one section each, then the controls and how to read it all."""
    table = replace(findings_table(tested), notes=_beneath(groups, tested, command))
    parts = ["# Findings of the paper, tested on these runs\n", to_markdown(table)]
    for finding in tested:
        parts += _section(finding, detailed=len(groups) > 1 or bool(finding.beside))
    if controls:
        title = "Controls at matched steps: icl-ft of iteration 1 minus the control (shown, not claimed)"
        parts.append(to_markdown(_effects(title, controls)))
    lines = [f"* {escape_prose(line)}" for line in _how_to_read(groups)]
    return "\n".join([*parts, "## How to read this", "", *lines]) + "\n"


def _section(finding: Finding, *, detailed: bool) -> list[str]:
    rule, sentences = finding.rule, " ".join(_sentence(claim, finding.rule.limit) for claim in finding.claims)
    scope = f" ({finding.scope})" if finding.scope else ""
    stated = f"Rule: {rule.criterion} Smallest effect that matters: {rule.limit.size} ({rule.limit.why})."
    texts = [f"## {rule.name}: {finding.outcome}{scope}", rule.statement, sentences, stated, finding.note]
    details = _effects(f"{rule.name} in detail", [*finding.claims, *finding.beside])
    return [f"{escape_prose(text)}\n" for text in texts if text] + (
        [to_markdown(details)] if detailed else []
    )


def _sentence(claim: Claim, limit: Limit) -> str:
    effect = claim.effect
    if claim.outcome == "not tested" or effect is None:
        return f"Not tested: {claim.untested or f'results for “{claim.name}” are missing'}."
    p = p_value(claim.p_holm).text
    points = f"{points_interval(effect).text} points{_consequence(claim.outcome, effect, limit)}"
    head = f"{claim.outcome.capitalize()}: {claim.name} = {points}"
    return f"{head} (p {p if p.startswith('<') else f'= {p}'} after Holm)."


def _consequence(outcome: str, effect: Estimate, limit: Limit) -> str:
    if outcome == "holds":
        return f", though by less than {limit.size}" if effect.high < limit.smallest else ""
    if outcome == "fails":
        return ": the opposite is shown"
    if outcome == "bounded":
        return f": a gain of more than {limit.size} is excluded"
    return (
        f": both no gain and a gain of {100 * effect.high:.1f} points fit the data" if effect.low <= 0 else ""
    )


def _effects(title: str, claims: Sequence[Claim]) -> Table:
    table = Table(title, ["effect, points", "over", "value", "p, one test", "n", "seeds", "clusters"])
    table.left = ("over",)
    for claim in claims:
        everywhere = {"all weak models": claim.effect} if len(claim.by_group) != 1 else {}
        for place, effect in (everywhere | claim.by_group).items():
            sizes = (effect.n, effect.seeds, effect.clusters) if effect else "–––"
            cells = [
                words(claim.name),
                words(place),
                points_interval(effect),
                probability(effect),
                *(words(str(size)) for size in sizes),
            ]
            table.rows.append(dict(zip(table.columns, cells, strict=True)))
    effects = [effect for claim in claims for effect in (claim.effect, *claim.by_group.values())]
    notes = (smallest_effect("An effect", effects), "Runs and commands: beneath the first table.")
    table.notes = [note for note in notes if note]
    return table


def _beneath(groups: Sequence[Group], tested: Sequence[Finding], command: str) -> list[str]:
    """What the table stands on: questions, seeds, the smallest effect that it can show, runs and commands."""
    notes = [
        f"n = {questions_of(groups[0])}; seeds {', '.join(map(str, _seeds(groups)))}.",
        f"weak models {names_of(groups)}; strong model {strong_model(groups[0])}.",
        smallest_effect("An effect", [claim.effect for finding in tested for claim in finding.claims]),
        *run_notes(groups),
        f"made by: {command}" if command else "",
    ]
    return [note for note in notes if note]


def _seeds(groups: Sequence[Group]) -> list[int]:
    return sorted({seed for group in groups for seed in group.seeds})


def _how_to_read(groups: Sequence[Group]) -> list[str]:
    """What effects and verdicts mean, line by line."""
    chance = "Intervals (95 %) and p take questions (by template) and seeds as drawn at random, weak models as given."
    # A setting that goes with the weak model could be the cause of what the findings say of the weak model.
    others = [name for name in differing_fields(groups) if name != "weak"]
    notes = [
        f"Effects are differences on the same questions, averaged over weak models. {chance}",
        _VERDICTS,
        _COVERAGE if len(_seeds(groups)) == 1 else "",
        f"Note: the runs of these weak models also differ in {', '.join(others)}." if others else "",
    ]
    return [note for note in notes if note]


def as_json(
    groups: Sequence[Group], tested: Sequence[Finding], controls: Sequence[Claim], command: str
) -> dict[str, Any]:
    """Everything on the page as data."""
    return {
        "runs": [run for group in groups for run in group.all_runs],
        "weak": [group.name for group in groups],
        "seeds": _seeds(groups),
        "split": groups[0].split,
        "command": command,
        "alpha": ALPHA,
        "findings": records(tested),
        "controls": [claim.record() for claim in controls],
    }
