"""Steps that choose rows: agreement, contrastive pairs, subsets."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from w2s_core.engine import Context, KindOf, step
from w2s_core.errors import StopBranch
from w2s_core.rows import Row, read_rows, write_rows
from w2s_core.steps.common import (
    ANSWER_CODE,
    ANSWER_LIBRARIES,
    Minimums,
    Responses,
    held_to,
    read_ids,
    read_responses,
    rule_name,
)

Classes = list[int | None]
ROW_SETS = ("responses", "agreed", "pairs")
"""Kinds of artefacts whose rows are of training questions."""


@step(
    version=1,
    code=(*ANSWER_CODE, "w2s_core.selection"),
    libraries=ANSWER_LIBRARIES,
    unkeyed=("warn_below",),
    gives="agreed",
    takes={"weak": ("responses",), "icl": ("responses",), "exclude": ("demonstrations",)},
)
def agree(
    ctx: Context,
    *,
    weak: Path,
    icl: Path,
    exclude: Path,
    rule: str,
    consistency: float = 1.0,
    stop_below: Minimums | None = None,
    warn_below: Minimums | None = None,
) -> Row:
    """Keep the questions on which both sides agree (section 3.1): rows of id, weak, icl (two responses), share."""
    from w2s_core.selection import agree_question

    weak_side, icl_side, barred = read_responses(weak), read_responses(icl), read_ids(exclude)
    kept = []
    counts = Counter({"kept": 0, "disagree": 0, "demonstrations": 0})
    parsed: Counter[bool] = Counter()
    for name, (left, right) in _classes(weak_side, icl_side, rule):
        parsed.update(answer is not None for answer in right)
        found = agree_question(left, right, consistency)
        if name in barred:
            counts["demonstrations"] += 1
        elif found is None:
            counts["disagree"] += 1
        else:
            counts["kept"] += 1
            texts = {"weak": weak_side[name][found.weak], "icl": icl_side[name][found.icl]}
            kept.append({"id": name, **texts, "share": found.share})
    if not kept:
        raise StopBranch(
            f"agree: the two sides agree on none of {len(weak_side)} questions at consistency {consistency}: "
            "nothing to fine-tune on"
        )
    measured = {"agreed": len(kept), "parsed": parsed[True] / max(1, parsed.total())}
    warning = held_to(ctx, measured, stop_below, warn_below)
    write_rows(ctx.out / "rows.parquet", kept)
    return {"questions": len(weak_side), **counts, **warning}


@step(
    version=1,
    code=(*ANSWER_CODE, "w2s_core.selection"),
    libraries=ANSWER_LIBRARIES,
    gives="pairs",
    takes={"weak": ("responses",), "samples": ("responses",), "exclude": ("demonstrations",)},
)
def contrast(
    ctx: Context,
    *,
    weak: Path,
    samples: Path,
    exclude: Path,
    rule: str,
    keep: float = 0.6,
    flip: float = 0.8,
    per_question: int = 1,
    seed: int = 0,
) -> Row:
    """Contrastive pairs by the strong model's confidence (section 3.2): rows of id, chosen, rejected, kind."""
    from w2s_core.selection import PairRule, contrast_texts

    weak_side, drawn, barred = read_responses(weak), read_responses(samples), read_ids(exclude)
    pair_rule = PairRule(keep, flip, per_question, seed)
    rows = []
    counts: Counter[str] = Counter()
    for name, (labelled, sampled) in _classes(weak_side, drawn, rule):
        if name in barred:
            counts["demonstrations"] += 1
            continue
        texts = [weak_side[name][0], *drawn[name]]
        pairs, outcome = contrast_texts(name, texts, [labelled[0], *sampled], pair_rule)
        counts[outcome] += 1
        rows += [
            {"id": name, "chosen": texts[pair.chosen], "rejected": texts[pair.rejected], "kind": pair.kind}
            for pair in pairs
        ]
    if not rows:
        raise StopBranch(
            f"contrast: no question gives a pair ({_listed(counts)}): Stage II has nothing to train on"
        )
    write_rows(ctx.out / "rows.parquet", rows)
    kinds = Counter(row["kind"] for row in rows)
    return {"questions": len(weak_side), "pairs": len(rows), **kinds, **counts}


@step(
    version=1,
    gives="responses",
    takes={"responses": ("responses",), "like": ROW_SETS, "exclude": ("demonstrations",)},
)
def random_subset(ctx: Context, *, responses: Path, like: Path, exclude: Path, seed: int) -> Row:
    """Control: as many rows of `responses` as `like` has, drawn at random."""
    barred = read_ids(exclude)
    rows = [row for row in read_rows(responses / "rows.parquet") if row["id"] not in barred]
    size = len(read_rows(like / "rows.parquet"))
    kept = random.Random(f"random-subset-{seed}").sample(rows, min(size, len(rows)))
    return {"rows": write_rows(ctx.out / "rows.parquet", kept)}


@step(
    version=1,
    gives=KindOf("responses"),
    takes={"responses": ("responses", "gold"), "like": ROW_SETS},
)
def on_same_questions(ctx: Context, *, responses: Path, like: Path) -> Row:
    """Control: the rows of `responses` on the questions of `like`."""
    wanted = read_ids(like)
    kept = [row for row in read_rows(responses / "rows.parquet") if row["id"] in wanted]
    return {"rows": write_rows(ctx.out / "rows.parquet", kept)}


@step(
    version=1,
    code=ANSWER_CODE,
    libraries=ANSWER_LIBRARIES,
    gives="responses",
    takes={"responses": ("responses",), "gold": ("gold",)},
)
def keep_right(ctx: Context, *, responses: Path, gold: Path, rule: str) -> Row:
    """Rejection sampling: of each question the first response that gold calls right: rows of id, responses (one).

    Questions without a right response are left out, and counted.
    """
    from w2s_core.answers.extract import extract
    from w2s_core.answers.grading import Grader
    from w2s_core.answers.verdicts import RIGHT

    truth = {row["id"]: row.get("entry") or row["gold"] for row in read_rows(gold / "rows.parquet")}
    rows = []
    samples = read_responses(responses)
    with Grader(rule) as grader:
        for name, texts in samples.items():
            verdicts = grader.grade([(extract(text, rule), truth[name]) for text in texts])
            right = [text for text, verdict in zip(texts, verdicts, strict=True) if verdict == RIGHT]
            rows += [{"id": name, "responses": right[:1]}] if right else []
    return _write_kept(ctx, rows, len(samples), "no response is right")


@step(
    version=1,
    code=(*ANSWER_CODE, "w2s_core.selection"),
    libraries=ANSWER_LIBRARIES,
    gives="responses",
    takes={"responses": ("responses",)},
)
def keep_majority(ctx: Context, *, responses: Path, rule: str, confidence: float) -> Row:
    """Majority vote: of each question the first response with the commonest answer: rows of id, responses (one).

    Left out, and counted, are questions whose commonest answer is empty or has a share under `confidence`.
    """
    from w2s_core.selection import majority

    rows = []
    samples = read_responses(responses)
    no_other_side = {name: list[str]() for name in samples}
    for name, (classes, _) in _classes(samples, no_other_side, rule):
        answer, share = majority(classes)
        if answer is not None and share >= confidence - 1e-9:
            rows.append({"id": name, "responses": [samples[name][classes.index(answer)]]})
    return _write_kept(ctx, rows, len(samples), f"no answer has a share of {confidence}")


def _write_kept(ctx: Context, rows: list[Row], questions: int, reason: str) -> Row:
    if not rows:
        raise StopBranch(f"{reason} in {questions} questions: nothing to fine-tune on")
    return {"questions": questions, "rows": write_rows(ctx.out / "rows.parquet", rows)}


def _classes(weak: Responses, other: Responses, rule: str) -> Iterator[tuple[str, tuple[Classes, Classes]]]:
    """For each question of the weak side: the classes of equal answers among its responses and the other side's."""
    from w2s_core.answers.extract import extract
    from w2s_core.answers.grading import Grader

    rule = rule_name(rule)
    with Grader(rule) as grader:
        for name, responses in weak.items():
            both = grader.classes([extract(text, rule) for text in (*responses, *other[name])])
            yield name, (both[: len(responses)], both[len(responses) :])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
