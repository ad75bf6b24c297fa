"""What was asked, written, extracted and decided: as pages for `w2s compare --answers`, and as rows to take out."""

from collections.abc import Iterator
from typing import Any, Final

from w2s_analysis.parts.compare import Compared, detailed, find_compared, find_target
from w2s_analysis.reading.answers import ALONE, ANY, CHOICES, Answered, Answers, Response
from w2s_core.engine import Store
from w2s_core.errors import UserError, one_line
from w2s_core.recipes.record import read_record

PAGE_SIZE: Final = 10


def render_answers(
    store: Store,
    runs: tuple[str, str | None],
    targets: tuple[str | None, str | None],
    *,
    side: str = ANY,
    level: str = ANY,
    verdict: str = ANY,
    page: int = 1,
) -> str:
    """A page of the questions of two runs, or of one where the second is None.

    Raises:
        UserError: as `find_compared` and `Answers`, or a filter or page that there is not.
    """
    result = detailed(find_compared(store, runs[0], runs[1] or runs[0], *targets))
    alone = runs[1] is None
    names = [f"{runs[0]}:{result.label_a}", f"{runs[1]}:{result.label_b}"][: 1 if alone else 2]
    answers = Answers(store, _keys(result, alone), names)
    _check("--answers", side, ALONE if alone else CHOICES)
    _check("--level", level, [ANY, *answers.levels])
    _check("--verdict", verdict, [ANY, *answers.verdicts])
    selected = answers.select(side, level, verdict)
    pages = max(1, -(-len(selected) // PAGE_SIZE))
    _check("--page", str(page), [str(number) for number in range(1, pages + 1)])
    shown = answers.read(selected[(page - 1) * PAGE_SIZE : page * PAGE_SIZE])
    lines = [line for asked in shown for line in _question(asked, names)]
    return "\n".join([*lines, f"{len(selected):,} of {len(answers.ids):,} questions; page {page} of {pages}"])


def response_rows(store: Store, run: str, name: str) -> Iterator[dict[str, Any]]:
    """Every response of a set of a run.

    Args:
        name: a judged model (its greedy responses), a graded target, or the label of a step that samples.

    Yields:
        id, question, draw (from 0), response, answer (as extracted), gold, verdict, level. What the store does not hold
        is None: of responses that no target graded all but id, question, draw and response.

    Raises:
        UserError: a name that the run does not have, or a result that is not computed or holds no responses.
    """
    record = read_record(store.refs, run)
    targets: dict[str, str] = record["targets"]
    label = name if name in record["steps"] else find_target(targets, name, run)
    key = {**record["steps"], **targets}[label]
    graded = [target for target in targets.values() if _responses_of(store, target) == key]
    answers = Answers(store, [graded[0] if graded else key], [f"{run}:{label}"])
    for asked in answers.read(answers.ids):
        for draw, response in enumerate(asked.responses[0]):
            yield {
                "id": asked.id,
                "question": asked.question,
                "draw": draw,
                "response": response.text,
                "answer": response.answer,
                "gold": asked.gold,
                "verdict": response.verdict,
                "level": asked.level,
            }


def _responses_of(store: Store, key: str) -> Any:
    """The responses that a target grades, by their key; None where it grades a column of several."""
    manifest = store.peek(key)
    spec = manifest["spec"] if manifest else {}
    return None if "column" in spec.get("params", {}) else spec.get("inputs", {}).get("responses")


def _keys(result: Compared, alone: bool) -> list[str]:
    return [result.key_a] if alone else [result.key_a, result.key_b]


def _check(option: str, value: str, known: "list[str] | tuple[str, ...]") -> None:
    if value not in known:
        listed = ", ".join(known) if len(known) <= 12 else f"{known[0]} to {known[-1]}"
        raise UserError(f"{option} '{value}': there is {listed}")


def _question(asked: Answered, names: list[str]) -> Iterator[str]:
    level = "" if asked.level is None else f" · level {asked.level}"
    yield one_line(f"{asked.id}{level} · {asked.side}")
    yield from _text(asked.question or "(the question is not in the store)")
    if asked.gold is not None:
        yield one_line(f"  gold answer: {asked.gold}")
    for name, responses in zip(names, asked.responses, strict=True):
        for response in responses:
            yield one_line(f"  {name}: {response.verdict}, {_answer(response)}")
            yield from _text(response.text or "(the response is not in the store)")
    yield ""


def _answer(response: Response) -> str:
    return "no answer found" if response.answer is None else f"answer {response.answer}"


def _text(text: str) -> Iterator[str]:
    """A text line by line, without characters that a terminal would act on."""
    yield from (f"    {one_line(line.expandtabs())}" for line in text.splitlines())
