"""Steps that name what a run starts from: questions, gold answers, base models."""

from typing import Any

from w2s_core.engine import Context, step
from w2s_core.errors import UserError
from w2s_core.rows import Row, write_json, write_rows


@step(version=1, unkeyed=("source", "w2s_core.data.splits"), gives="questions")
def questions(ctx: Context, *, source: dict[str, Any], split: str, digest: str) -> Row:
    """The questions of a split, without their answers: rows of id, question. `digest` is of exactly these rows."""
    from w2s_core.data.splits import load_splits, question_rows

    return _write_split(ctx, question_rows(load_splits(**source).problems[split]), split, digest)


@step(version=1, unkeyed=("source", "w2s_core.data.splits"), gives="gold")
def gold(ctx: Context, *, source: dict[str, Any], split: str, digest: str) -> Row:
    """The gold answers of a split: rows of id, gold, solution, level, template."""
    from w2s_core.data.splits import gold_rows, load_splits

    return _write_split(ctx, gold_rows(load_splits(**source).problems[split]), split, digest)


@step(version=1, gives="model")
def base_model(ctx: Context, *, ref: str, prompt: dict[str, str] | None = None) -> Row:
    """A pretrained model, named by its content (`sha256:...`) or by its pinned revision on a hub.

    `prompt`: how it and all that is trained from it is asked (`w2s_core.models.encoder_of`).
    """
    asked = {"prompt": prompt} if prompt else {}
    write_json(ctx.out / "model.json", {"base": ref, "adapters": [], **asked})
    return {"base": ref}


def _write_split(ctx: Context, rows: list[Row], split: str, digest: str) -> Row:
    from w2s_core.data.splits import rows_digest

    if rows_digest(rows) != digest:
        raise UserError(f"split '{split}' changed while the run was going on; start the run again")
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}
