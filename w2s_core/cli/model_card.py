"""The README.md beside an exported model: what it is, how it was trained and what it reached, by the store's record."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_core.cli.render import fields
from w2s_core.cli.run_list import right_share
from w2s_core.errors import one_line
from w2s_core.prompting import QA
from w2s_core.recipes.record import outline, recipe_name

if TYPE_CHECKING:
    from w2s_core.engine import Store

JUDGED = ("greedy", "samples")
"""The kinds of targets that grade what a model answers to the questions of a split."""


@dataclass(frozen=True)
class Exported:
    """A model that is written out.

    Attributes:
        run, model: the run, and what the model is called there.
        key: of the training that gave it.
        base: the base model's name: a hub id, or the last part of its folder.
        ref: the base model's name by content.
        place: where the base lies: a folder, or a hub id.
        revision: of a base on a hub.
        prompt: how it is asked, where that is not the plain form.
        rank: of the adapter; None where the base is merged.
    """

    run: str
    model: str
    key: str
    base: str
    ref: str
    place: str | None
    revision: str | None
    prompt: Mapping[str, str] | None
    rank: int | None = None


def model_card(store: "Store", record: Mapping[str, Any], exported: Exported) -> str:
    """The card as Markdown, with the front matter of a hub."""
    parts = [
        _front_matter(exported),
        f"# {_text(exported.model)} of run {_text(exported.run)}",
        _what(record, exported),
        "## Use",
        _use(exported),
        _asked(exported),
        "## Training",
        *_trainings(store, record, exported.key),
        "## Data",
        _data(record),
        "## Results",
        _results(store, record, exported.key),
        "## Command",
        _code(" ".join(map(str, record.get("command", [])))),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(exported: Exported) -> str:
    library = "transformers" if exported.rank is None else "peft"
    lines = [
        f"base_model: {json.dumps(exported.base)}",
        f"library_name: {library}",
        "pipeline_tag: text-generation",
        "tags: [weak-to-strong]",
        "# license: for you to choose; the base model's own license goes on applying",
    ]
    return "\n".join(["---", *lines, "---"])


def _what(record: Mapping[str, Any], exported: Exported) -> str:
    form = (
        "The whole model, any adapters merged"
        if exported.rank is None
        else f"A LoRA adapter of rank {exported.rank}"
    )
    started, seed = record.get("started", "at an unknown time"), record.get("seed", "unknown")
    precision = record["experiment"].get("precision", "unknown")
    return (
        f"{form}, trained by the recipe {_text(recipe_name(record))} of w2s.\n\n"
        f"* base model: {_text(exported.base)}, `{exported.ref}`\n"
        f"* run: {_text(exported.run)}, started {started}, seed {seed}, precision {precision}\n"
        f"* model: {_text(exported.model)}, result `{exported.key}`"
    )


def _use(exported: Exported) -> str:
    load = "from transformers import AutoModelForCausalLM\n\n{} = AutoModelForCausalLM.from_pretrained({})"
    if exported.rank is None:
        return _code(load.format("model", "DIR"))
    revision = f", revision={json.dumps(exported.revision)}" if exported.revision else ""
    base = load.format("base", json.dumps(exported.place or exported.base) + revision)
    peft = _code(f"from peft import PeftModel\n{base}\nmodel = PeftModel.from_pretrained(base, DIR)")
    return f"{peft}\n\nvLLM: `--enable-lora --max-lora-rank N --lora-modules NAME=DIR`, N at least {exported.rank}."


def _asked(exported: Exported) -> str:
    form = json.dumps(dict(exported.prompt), indent=1) if exported.prompt else QA
    return f"It was trained and judged on prompts of this form:\n\n{_code(form)}"


def _trainings(store: "Store", record: Mapping[str, Any], key: str) -> Iterator[str]:
    """A paragraph a training, the first first."""
    labels = {recorded: label for label, recorded in record.get("steps", {}).items()}
    chain: list[str] = []
    above: Any = key
    while isinstance(above, str) and (manifest := store.peek(above)):
        chain.insert(0, above)
        above = manifest["spec"]["inputs"].get("model")
    for number, trained in enumerate(chain[1:], 1):  # the first is the base
        manifest = store.peek(trained) or {}
        summary = manifest.get("summary", {})
        settings = dict(fields(manifest["spec"]["params"].get("settings", {})))
        rows = f"{summary.get('rows', '?')} rows ({summary.get('dropped_long', '?')} of them too long and left out)"
        listed = "\n".join(
            f"* {_text(name)}: {_text(value)}" for name, value in settings.items() if value != "None"
        )
        yield (
            f"{number}. {_text(labels.get(trained, trained[:12]))}: {_text(summary.get('method', '?'))} on {rows}, "
            f"{summary.get('steps', '?')} steps\n\n{listed}"
        )


def _data(record: Mapping[str, Any]) -> str:
    task = record["experiment"].get("task", {})
    options = ", ".join(f"{_text(name)} {_text(value)}" for name, value in fields(task.get("options", {})))
    splits = ", ".join(f"{_text(split)} {number}" for split, number in record.get("questions", {}).items())
    return f"Task {_text(record.get('task', '?'))}{f' ({options})' if options else ''}; questions: {splits}."


def _results(store: "Store", record: Mapping[str, Any], key: str) -> str:
    """Shares of right answers of all models that the run judged; this one's are set in bold."""
    lines = ["| model | split | responses | right, % | questions |", "|---|---|---|---|---|"]
    for entry in outline(record):
        manifest = store.peek(record["targets"][entry.label])
        share = right_share(manifest)
        if entry.kind not in JUDGED or manifest is None or share is None:
            continue
        mark = "**" if judged_model(store, record["targets"][entry.label]) == key else ""
        title = f"{mark}{_text(entry.title)}{mark}"
        number = manifest["summary"].get("questions", "?")
        lines.append(f"| {title} | {entry.split} | {entry.kind} | {100 * share:.1f} | {number} |")
    return "\n".join(lines) if len(lines) > 2 else "None yet."


def judged_model(store: "Store", key: str) -> str | None:
    """The model whose responses a graded set holds; None where the store does not tell."""
    above: Any = key
    while isinstance(above, str) and (manifest := store.peek(above)):
        if "model.json" in manifest["files"]:
            return above
        inputs = manifest["spec"]["inputs"]
        above = inputs.get("responses") or inputs.get("model")
    return None


def _text(value: Any) -> str:
    """Words of a record as Markdown that means nothing but themselves."""
    text = one_line(str(value))
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>|#" else char for char in text)


def _code(text: str) -> str:
    """A block of code, its fence longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
