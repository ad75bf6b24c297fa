"""The step that marks responses against gold answers."""

from collections import Counter
from pathlib import Path

from w2s_core.engine import Context, step
from w2s_core.rows import Row, read_rows, write_rows
from w2s_core.steps.common import ANSWER_CODE, ANSWER_LIBRARIES, rule_name


@step(
    version=1,
    code=ANSWER_CODE,
    libraries=ANSWER_LIBRARIES,
    gives="grades",
    takes={"responses": ("responses", "agreed", "pairs"), "gold": ("gold",)},
)
def grade(ctx: Context, *, responses: Path, gold: Path, rule: str, column: str = "responses") -> Row:
    """Grade responses against gold: rows of id, level, template, and the lists answers, verdicts, tokens, finish."""
    from w2s_core.answers.extract import extract
    from w2s_core.answers.grading import Grader

    rule = rule_name(rule)
    truth = {row["id"]: row for row in read_rows(gold / "rows.parquet")}
    rows = []
    with Grader(rule) as grader:
        for row in read_rows(responses / "rows.parquet"):
            texts = [row[column]] if isinstance(row[column], str) else row[column]
            answers = [extract(text, rule) for text in texts]
            known = truth[row["id"]]
            reference = known.get("entry") or known["gold"]
            rows.append(
                {
                    "id": row["id"],
                    "level": known["level"],
                    "template": known["template"],
                    "answers": answers,
                    "verdicts": [
                        str(one) for one in grader.grade([(answer, reference) for answer in answers])
                    ],
                    "tokens": row.get("tokens", []),
                    "finish": row.get("finish", []),
                }
            )
            ctx.progress(len(rows), None, "questions")
    write_rows(ctx.out / "grades.parquet", rows)
    verdicts = Counter(verdict for row in rows for verdict in row["verdicts"])
    return {"questions": len(rows), "graded": sum(verdicts.values()), **verdicts}
