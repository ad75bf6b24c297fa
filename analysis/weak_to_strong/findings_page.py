"""Findings as one page of Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

from analysis.reading.groups import Group, differing_fields, names_of
from analysis.weak_to_strong.findings import ALPHA, MARGIN, Claim, Finding, control_contrasts, findings
from analysis.weak_to_strong.titles import strong_model
from analysis.writing.notes import questions_of, run_notes, smallest_effect
from analysis.writing.table import (
    Cell,
    Table,
    points_interval,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    words,
)
from w2s_core.statistics import Estimate


def findings_table(found: Sequence[Finding]) -> Table:
    """All claims in one table: effect in points with its interval, p after Holm, n, verdict."""
    table = Table("Findings F1-F9, effects in points", ["", "claim", "effect", "p (Holm)", "n", "verdict"])
    table.left, table.spans = ("claim", "verdict"), ("effect",)
    for one in found:
        for i, claim in enumerate(one.claims):
            table.rows.append(
                {
                    "": words(one.name if i == 0 else ""),
                    "claim": words(claim.name),
                    "effect": points_interval(claim.effect),
                    "p (Holm)": Cell(_p(claim.p_holm), claim.p_holm),
                    "n": words(str(claim.effect.n) if claim.effect else "–"),
                    "verdict": words(claim.verdict),
                }
            )
    return table


def save_findings(groups: Sequence[Group], folder: Path, command: str = "") -> tuple[str, list[Path]]:
    """Test the findings and write them: `findings.md`, the page; its table as `.csv` and `.tex`; all of it as `.json`.

    Returns the table for a terminal, and the files.

    Raises:
        UserError: groups that cannot be compared.
    """
    found, controls = findings(groups), control_contrasts(groups)
    folder.mkdir(parents=True, exist_ok=True)
    table, record = findings_table(found), as_json(groups, found, controls, command)
    noted = replace(table, notes=[*beneath(groups, found, command), *how_to_read(groups)])
    texts = {
        "findings.md": page(groups, found, controls, command),
        "findings.json": json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "findings.csv": to_csv(table),
        "findings.tex": to_latex(noted),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return to_terminal(table), [folder / name for name in texts]


def page(
    groups: Sequence[Group], found: Sequence[Finding], controls: Sequence[Claim], command: str = ""
) -> str:
    """The findings in plain words, one section each, then the controls and how to read it all."""
    table = replace(findings_table(found), notes=beneath(groups, found, command))
    parts = ["# Findings of the paper, tested on these runs\n", to_markdown(table)]
    for one in found:
        parts.append(
            f"## {one.name}: {one.verdict}\n\n{one.statement}\n\n{_sentences(one)}\n\nRule: {one.rule}\n"
        )
        parts += [f"{one.note}\n"] if one.note else []
        parts += [to_markdown(_detail(one))] if len(groups) > 1 or one.beside else []
    if controls:
        title = "Controls at matched steps: icl-ft of iteration 1 minus the control (shown, not claimed)"
        parts.append(to_markdown(_effects(title, controls)))
    parts.append(
        "\n".join(["## How to read this", "", *(f"* {line}" for line in how_to_read(groups))]) + "\n"
    )
    return "\n".join(parts)


def _sentences(one: Finding) -> str:
    return " ".join(_sentence(claim) for claim in one.claims)


def _sentence(claim: Claim) -> str:
    effect = claim.effect
    if claim.verdict == "not tested" or effect is None:
        return f"Not tested: results for “{claim.name}” are missing."
    heads = {"holds": "Holds", "fails": "Fails", "not resolved": "Not resolved"}
    tail = ""
    if claim.verdict == "holds" and effect.high < MARGIN:
        tail = f", though by less than {100 * MARGIN:g} point"
    if claim.verdict == "fails":
        below = "it is lower, if anything" if effect.value < 0 else "no gain worth having is left"
        tail = f": {below}"
    if claim.verdict == "not resolved":
        tail = (
            f": both no gain and a gain of {100 * effect.high:.1f} points fit the data"
            if effect.low <= 0
            else ""
        )
    p = _p(claim.p_holm, "= ")
    return f"{heads[claim.verdict]}: {claim.name} = {points(effect)} points{tail} (p {p} after Holm)."


def _detail(one: Finding) -> Table:
    return _effects(f"{one.name} in detail", [*one.claims, *one.beside])


def _effects(title: str, claims: Sequence[Claim]) -> Table:
    table = Table(title, ["effect, points", "over", "value", "p, one test", "n", "seeds", "clusters"])
    table.left = ("over",)
    for claim in claims:
        places = {"all weak models": claim.effect} if len(claim.by_weak) != 1 else {}
        for place, effect in (places | claim.by_weak).items():
            table.rows.append(
                {
                    "effect, points": words(claim.name),
                    "over": words(place),
                    "value": words(points(effect)),
                    "p, one test": words(_p(effect.p if effect else float("nan"))),
                    "n": words(str(effect.n) if effect else "–"),
                    "seeds": words(str(effect.seeds) if effect else "–"),
                    "clusters": words(str(effect.clusters) if effect else "–"),
                }
            )
    effects = [one for claim in claims for one in (claim.effect, *claim.by_weak.values())]
    notes = (smallest_effect("An effect", effects), "Runs and commands: beneath the first table.")
    table.notes = [note for note in notes if note]
    return table


def beneath(groups: Sequence[Group], found: Sequence[Finding], command: str) -> list[str]:
    """What the table stands on: questions, seeds, the smallest effect that it can show, runs and commands."""
    seeds = sorted({seed for group in groups for seed in group.seeds})
    first = groups[0]
    weak = names_of(groups)
    smallest = smallest_effect("An effect", [claim.effect for one in found for claim in one.claims])
    notes = [
        f"n = {questions_of(first)}; seeds {', '.join(map(str, seeds))}.",
        f"weak models {weak}; strong model {strong_model(first)}.",
        smallest,
        *run_notes(groups),
        f"made by: {command}" if command else "",
    ]
    return [note for note in notes if note]


def how_to_read(groups: Sequence[Group]) -> list[str]:
    """What effects and verdicts mean, line by line."""
    seeds = {seed for group in groups for seed in group.seeds}
    alone = "" if len(seeds) > 1 else " With one seed they say nothing about other seeds."
    chance = "Intervals (95 %) and p take questions (by template) and seeds as drawn at random, weak models as given."
    holds = f"Holds: above 0 with p < {ALPHA:g} after Holm's correction over all claims."
    fails = f"Fails: the whole interval lies below +{100 * MARGIN:g} point."
    return [
        f"Effects are differences on the same questions, averaged over weak models. {chance}{alone}",
        f"{holds} {fails} Not resolved: neither.",
        *_other_differences(groups),
    ]


def _other_differences(groups: Sequence[Group]) -> list[str]:
    """A setting that goes with the weak model could be the cause of what the findings say of the weak model."""
    fields = [name for name in differing_fields(groups) if name != "weak"]
    return [f"Note: the runs of these weak models also differ in {', '.join(fields)}."] if fields else []


def points(effect: Estimate | None) -> str:
    """An effect in points: `+5.2 [+3.1, +7.4]`."""
    return points_interval(effect).text


def _p(p: float, equals: str = "") -> str:
    if isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def as_json(
    groups: Sequence[Group], found: Sequence[Finding], controls: Sequence[Claim], command: str
) -> dict[str, Any]:
    """Everything on the page as data; effects as shares, None where there is no number."""
    return {
        "runs": [run for group in groups for run in group.all_runs],
        "weak": [group.name for group in groups],
        "seeds": sorted({seed for group in groups for seed in group.seeds}),
        "split": groups[0].split,
        "command": command,
        "alpha": ALPHA,
        "margin": MARGIN,
        "findings": [
            {
                "name": one.name,
                "statement": one.statement,
                "rule": one.rule,
                "note": one.note,
                "verdict": one.verdict,
                "claims": [_claim_record(claim) for claim in one.claims],
                "beside": [_claim_record(claim) for claim in one.beside],
            }
            for one in found
        ],
        "controls": [_claim_record(claim) for claim in controls],
    }


def _claim_record(claim: Claim) -> dict[str, Any]:
    return {
        "name": claim.name,
        "verdict": claim.verdict,
        "p_holm": _known(claim.p_holm),
        "effect": _effect_record(claim.effect),
        "by_weak": {name: _effect_record(effect) for name, effect in claim.by_weak.items()},
    }


def _effect_record(effect: Estimate | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    numbers = {name: _known(getattr(effect, name)) for name in ("value", "low", "high", "se", "p")}
    return numbers | {"n": effect.n, "seeds": effect.seeds, "clusters": effect.clusters}


def _known(number: float) -> float | None:
    return None if isnan(number) else round(number, 9)
