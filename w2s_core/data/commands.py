"""`w2s data`: the method's data steps on outputs made anywhere, JSONL or JSONL.gz, joined by id. No torch."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from w2s_core.answers.extract import RULES, Verdict, check_rule
from w2s_core.answers.grading import Grader
from w2s_core.data.command_rows import (
    Golds,
    Match,
    Spilled,
    Unparsed,
    answer_of,
    answered,
    compare,
    print_summary,
    progress,
    question_of,
    read_samples,
    refuse_overwriting,
    refuse_twice,
    require_join,
)
from w2s_core.errors import UserError
from w2s_core.jsonl import RowWriter, output_folder, read_jsonl, read_unique
from w2s_core.selection import Outcome, PairRule, contrast_texts, majority

if TYPE_CHECKING:
    from w2s_core.data.leaks import DuplicateFinder

F = TypeVar("F", bound=Callable[..., Any])

_INPUT = click.Path(path_type=Path)


def _rule(_: click.Context, __: click.Parameter, name: str) -> str:
    """An answer rule, a plug-in's too; refused before anything is read."""
    check_rule(name)
    return name


_task = click.option(
    "--task",
    callback=_rule,
    metavar="RULE",
    default="gsm8k",
    show_default=True,
    help=(
        "How final answers are found. gsm8k: behind the last ####. math: behind the last 'The answer is', else the "
        "last \\boxed{}; boxes that only commas or 'and' part are a list. choice: letters behind 'The answer is' or "
        f"####. Besides {', '.join(RULES)}: a rule of a module given with w2s --import."
    ),
)
_match = click.option(
    "--match",
    type=click.Choice(["value", "string"]),
    default="value",
    show_default=True,
    help=(
        "Compare by value, or as strings like the paper's authors (0.50 differs from 0.5; of two markers in the last "
        "line, the answer stands behind the first). Letters that their release lost are not cut off here."
    ),
)


def _field(name: str, of: str) -> Callable[[F], F]:
    return click.option(
        name, default="response", show_default=True, help=f"Field of {of} that holds a response."
    )


def _share(_: click.Context, option: click.Parameter, value: float) -> float:
    """A threshold; refused before anything is read, NaN included."""
    if not 0 <= value <= 1:
        raise UserError(f"--{option.name} must lie in [0, 1], not {value}")
    return value


@click.group()
def data() -> None:
    """Grade, filter, pair and check outputs made anywhere.

    Files are JSON lines, plain or gzip, joined by `id` and never by position. The last line on stdout is a JSON
    summary; progress goes to stderr. Files are written whole or not at all.
    """


@data.command(short_help="Grade responses against gold answers.")
@_task
@click.option("--responses", type=_INPUT, required=True, help="Rows with id, response.")
@click.option(
    "--gold",
    type=_INPUT,
    required=True,
    help="Rows with id and answer (or gold), or a solution that ends in it.",
)
@_field("--field", "RESPONSES")
@_match
@click.option("--out", type=_INPUT, help="Write id, answer, gold, verdict of each graded row here.")
def grade(task: str, responses: Path, gold: Path, field: str, match: Match, out: Path | None) -> None:
    """Grade responses against gold answers.

    right + wrong + unparsed + timed_out + undecided = graded; graded + missing_gold + unreadable_gold = rows of
    RESPONSES; missing_response counts the gold rows without a response. unparsed: no final answer in the response.
    undecided: shown neither to be the same as the gold answer nor to differ. unreadable_gold: the row's gold answer
    cannot be read, and the row is passed over.
    """
    refuse_overwriting(out, [responses, gold])
    counts: Counter[str] = Counter(dict.fromkeys(Verdict, 0))
    passed_over: Counter[str] = Counter(missing_gold=0, unreadable_gold=0)
    unparsed = Unparsed(task, responses)
    with ExitStack() as stack:
        writer = stack.enter_context(RowWriter(out)) if out else None
        grader = stack.enter_context(Grader(task, match))
        golds = Golds(gold, task)
        for name, row in progress(read_unique(responses), "responses graded"):
            response = row.text(field)
            if name not in golds.answers:
                passed_over["unreadable_gold" if name in golds.unreadable else "missing_gold"] += 1
                continue
            answer, right = answer_of(response, task, match), golds.answers[name]
            verdict = grader.grade([(answer, right)])[0]
            counts[verdict] += 1
            unparsed.count(name, response, answer)
            if writer:
                writer.write({"id": row.get("id"), "answer": answer, "gold": right, "verdict": str(verdict)})
        graded = counts.total()
        require_join(graded, responses, gold)
    unparsed.warn()
    missing_response = len(golds.answers) + len(golds.unreadable) - graded - passed_over["unreadable_gold"]
    print_summary(
        {"command": "grade", "task": task, "match": match, "graded": graded}
        | {str(verdict): counts[verdict] for verdict in Verdict}
        | {"share_right": counts[Verdict.RIGHT] / graded}
        | {**passed_over, "missing_response": missing_response}
    )


@data.command(short_help="Keep the questions on which two sides agree.")
@_task
@click.option("--weak", type=_INPUT, required=True, help="Rows with id, response, of the weak model.")
@click.option(
    "--icl", type=_INPUT, required=True, help="Rows with id, response, of the strong model in context."
)
@click.option(
    "--out", type=_INPUT, required=True, help="Folder for kept.jsonl and dropped.jsonl; made if need be."
)
@_field("--weak-field", "WEAK")
@_field("--icl-field", "ICL")
@_match
@click.option(
    "--differences", type=_INPUT, help="Write what comparing by value and as strings decide otherwise here."
)
def agree(
    task: str,
    weak: Path,
    icl: Path,
    out: Path,
    weak_field: str,
    icl_field: str,
    match: Match,
    differences: Path | None,
) -> None:
    """Keep the questions whose two final answers agree (the paper's section 3.1).

    kept + disagree + empty + timed_out + undecided = both (ids in both files); both + missing_icl = rows of WEAK, and
    both + missing_weak = rows of ICL. empty: a side has no final answer. kept.jsonl holds id, weak, icl (the
    responses) and their answers, with the question where a file has it; dropped.jsonl holds id, reason and the
    answers. Both sides may stand in one file, in fields of their own.
    """
    for output in (out / "kept.jsonl", out / "dropped.jsonl", differences):
        refuse_overwriting(output, [weak, icl])
    counts: Counter[str] = Counter(kept=0, disagree=0, empty=0, timed_out=0, undecided=0)
    weak_unparsed, icl_unparsed = Unparsed(task, weak), Unparsed(task, icl)
    missing_weak = 0
    with ExitStack() as stack:
        stack.enter_context(output_folder(out))
        kept = stack.enter_context(RowWriter(out / "kept.jsonl"))
        dropped = stack.enter_context(RowWriter(out / "dropped.jsonl"))
        grader = stack.enter_context(Grader(task, match))
        other = stack.enter_context(_OtherMatch(task, match, differences)) if differences else None
        weak_rows = Spilled()
        for name, row in progress(read_unique(weak), "weak rows read"):
            weak_rows.add(name, answered(row, task, match, weak_field))
        for name, row in progress(read_unique(icl), "icl rows compared"):
            icl_row = answered(row, task, match, icl_field)
            weak_row = next(iter(weak_rows.get(name)), None)
            if weak_row is None:
                missing_weak += 1
                continue
            outcome = compare(weak_row["answer"], icl_row["answer"], grader)
            counts[outcome] += 1
            weak_unparsed.count(name, weak_row["response"], weak_row["answer"])
            icl_unparsed.count(name, icl_row["response"], icl_row["answer"])
            answers = {"weak_answer": weak_row["answer"], "icl_answer": icl_row["answer"]}
            texts = {"weak": weak_row["response"], "icl": icl_row["response"]}
            if other:
                other.compare(row.get("id"), texts, answers, outcome)
            if outcome == "kept":
                questions = {**weak_row["question"], **icl_row["question"]}
                kept.write({"id": row.get("id"), **questions, **texts, **answers})
            else:
                dropped.write({"id": row.get("id"), "reason": outcome, **answers})
        both = counts.total()
        require_join(both, weak, icl)
    weak_unparsed.warn()
    icl_unparsed.warn()
    if not counts["kept"]:
        click.echo(f"w2s: the two sides agree on no question; {out / 'kept.jsonl'} is empty", err=True)
    print_summary(
        {
            "command": "agree",
            "task": task,
            "match": match,
            "both": both,
            **counts,
            "share_kept": counts["kept"] / both,
        }
        | {"missing_weak": missing_weak, "missing_icl": len(weak_rows) - both}
        | ({"differences": other.differences} if other else {})
    )


class _OtherMatch:
    """Compares by the other rule too, and writes the questions that it would keep or drop otherwise."""

    def __init__(self, task: str, match: Match, path: Path) -> None:
        self._match, self._path = match, path
        self._other: Match = "string" if match == "value" else "value"
        self._grader = Grader(task, self._other)
        self.differences = 0

    def __enter__(self) -> "_OtherMatch":
        self._open = ExitStack()
        self._open.enter_context(self._grader)
        self._writer = self._open.enter_context(RowWriter(self._path))
        return self

    def __exit__(self, *failure: Any) -> None:
        self._open.__exit__(*failure)

    def compare(
        self, name: Any, texts: Mapping[str, str], answers: Mapping[str, str | None], outcome: str
    ) -> None:
        """Note a question whose outcome by this command's own rule is `outcome`."""
        weak, icl = (answer_of(texts[side], self._grader.rule, self._other) for side in ("weak", "icl"))
        again = compare(weak, icl, self._grader)
        if (again == "kept") != (outcome == "kept"):
            self.differences += 1
            by = {"by_value": outcome, "by_string": again}
            if self._match == "string":
                by = {"by_value": again, "by_string": outcome}
            self._writer.write({"id": name, **answers, **by})


@data.command(short_help="Contrastive pairs of weak responses and strong samples.")
@_task
@click.option("--weak", type=_INPUT, required=True, help="Rows with id, response, of the weak model.")
@click.option(
    "--samples",
    type=_INPUT,
    required=True,
    help="Rows with id and response (several an id) or a list responses.",
)
@click.option("--out", type=_INPUT, required=True, help="Write the pairs here (.gz: packed).")
@click.option("--keep", type=float, default=0.6, show_default=True, callback=_share, help="Least confidence.")
@click.option(
    "--flip",
    type=float,
    default=0.8,
    show_default=True,
    callback=_share,
    help="Least confidence to overrule WEAK.",
)
@click.option(
    "--per-question", type=click.IntRange(min=1), default=1, show_default=True, help="Most pairs an id."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which samples are drawn.")
@_match
def pairs(
    task: str,
    weak: Path,
    samples: Path,
    out: Path,
    keep: float,
    flip: float,
    per_question: int,
    seed: int,
    match: Match,
) -> None:
    """Contrastive pairs of a weak response and a sample of the strong model (the paper's section 3.2).

    paired + majority_empty + low_confidence + no_contrast + overruled_too_weakly = questions (ids in both files);
    weak_chosen + weak_rejected = pairs; samples with one text are drawn once. questions + missing_samples = rows of
    WEAK; missing_weak counts the ids of SAMPLES that WEAK has not. Rows: id, chosen, rejected, their answers, kind,
    confidence.
    """
    refuse_overwriting(out, [weak, samples])
    counts: Counter[str] = Counter()
    pair_rule = PairRule(keep, flip, per_question, seed)
    unparsed = Unparsed(task, samples)
    with RowWriter(out) as writer, Grader(task, match) as grader:
        drawn = read_samples(samples)
        missing_samples = 0
        for name, row in progress(read_unique(weak), "weak rows paired"):
            response = row.text("response")
            texts = [response, *drawn.get(name)]
            if len(texts) == 1:
                missing_samples += 1
                continue
            answers = [answer_of(text, task, match) for text in texts]
            for text, answer in zip(texts[1:], answers[1:], strict=True):
                unparsed.count(name, text, answer)
            classes = grader.classes(answers)
            contrasts, outcome = contrast_texts(name, texts, classes, pair_rule)
            counts[outcome] += 1
            for pair in contrasts:
                counts[pair.kind] += 1
                writer.write(
                    {
                        "id": row.get("id"),
                        **question_of(row),
                        "chosen": texts[pair.chosen],
                        "rejected": texts[pair.rejected],
                    }
                    | {"chosen_answer": answers[pair.chosen], "rejected_answer": answers[pair.rejected]}
                    | {"kind": pair.kind, "confidence": majority(classes[1:])[1]}
                )
        questions = sum(counts[outcome] for outcome in get_args(Outcome))
        require_join(questions, weak, samples)
    unparsed.warn()
    if not counts["paired"]:
        click.echo(f"w2s: no question gives a pair; {out} is empty", err=True)
    print_summary(
        {"command": "pairs", "task": task, "match": match, "questions": questions}
        | {outcome: counts[outcome] for outcome in get_args(Outcome)}
        | {"pairs": counts["weak_chosen"] + counts["weak_rejected"]}
        | {kind: counts[kind] for kind in ("weak_chosen", "weak_rejected")}
        | {"missing_samples": missing_samples, "missing_weak": len(drawn) - questions}
    )


@data.command(short_help="Find questions that stand twice.")
@click.argument("more", nargs=-1, type=_INPUT, metavar="[A2 ...]")
@click.option("--train", type=_INPUT, multiple=True, required=True, help="Training rows with id, question.")
@click.option("--eval", "evaluation", type=_INPUT, required=True, help="Evaluation rows with id, question.")
@click.option(
    "--out", type=_INPUT, help="Write each row that repeats an earlier one here, and what it repeats."
)
def leaks(more: tuple[Path, ...], train: tuple[Path, ...], evaluation: Path, out: Path | None) -> None:
    """Questions that stand twice, within and across the files: w2s data leaks --train A A2 --eval B.

    exact: the same characters; normalised: the same up to case, spacing and punctuation (this includes the exact
    ones). Files are read in the order eval, train ...: new + exact + normalised_only = rows, where a row is new if no
    earlier row has its question. within: rows that repeat a row of their own file. across: for each ordered pair of
    files, the rows of the one whose question stands in the other.
    """
    files = [evaluation, *train, *more]
    refuse_overwriting(out, files)
    refuse_twice(files)
    from w2s_core.data.leaks import DuplicateFinder

    finder = DuplicateFinder()
    with RowWriter(out) if out else nullcontext() as writer:
        for path in files:
            for _, row in progress(read_unique(path), f"questions of {path.name} read"):
                finder.add(row.text("question"))
            finder.end_file()
        if writer:
            _write_repeats(writer, files, finder)
    counts = finder.counts()
    across = finder.across()
    for pair in across:
        pair.update(rows_of=str(files[pair["rows_of"]]), standing_in=str(files[pair["standing_in"]]))
    print_summary(
        {"command": "leaks", "rows": counts.total(), "new": counts["new"], "exact": counts["exact"]}
        | {"normalised_only": counts["normalised"]}
        | {"within": [{"file": str(path), **finder.within(n)} for n, path in enumerate(files)]}
        | {"across": across}
    )


def _write_repeats(writer: RowWriter, files: Sequence[Path], finder: "DuplicateFinder") -> None:
    """Read the files again, and write each row that repeats an earlier one."""
    repeats = dict(finder.repeats())
    firsts: dict[int, tuple[str, str]] = {}
    needed = {repeat.row for repeat in repeats.values()}
    rows = ((path, row) for path in files for row in read_jsonl(path))
    for number, (path, row) in enumerate(rows):
        if number in needed:
            firsts[number] = str(path), row.id
        if number in repeats:
            kind, (first_file, first_id) = repeats[number].kind, firsts[repeats[number].row]
            here = {"file": str(path), "id": row.get("id"), "kind": kind}
            writer.write(here | {"first_file": first_file, "first_id": first_id})
