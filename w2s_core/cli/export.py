"""`w2s export-adapter`: a trained model of a run, with its model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from w2s_core.cli.completion import run_argument
from w2s_core.errors import UserError

if TYPE_CHECKING:
    from w2s_core.cli.model_card import Exported
    from w2s_core.engine import Store


@click.command("export-adapter")
@run_argument
@click.argument("model", metavar="MODEL")
@click.argument("out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--merge", is_flag=True, help="Write the whole base model with the adapters merged instead.")
@click.pass_obj
def export_adapter(root: Path, run_name: str, model: str, out: Path, merge: bool) -> None:
    """Write a trained model of a run for PEFT and vLLM.

    MODEL is the name of a judged model (dpo) or the label of a training (prefer:dpo). The new folder DIR gets one LoRA
    adapter, into which a stack of adapters is put together, and a model card.
    """
    from w2s_core.cli.inspection import find_run
    from w2s_core.engine import Store

    store = Store(root)
    exported = export_model(store, find_run(store, run_name), model, out, merge=merge)
    content = (
        f"the whole model, trained from base {exported.base}"
        if merge
        else f"an adapter of rank {exported.rank}"
    )
    click.echo(f"{out}: {exported.model} of run {exported.run}, {content}")


def export_model(store: "Store", run: str, model: str, out: Path, *, merge: bool = False) -> "Exported":
    """Write a model of a run and its model card into the new folder `out`.

    Args:
        merge: the whole base model with the adapters merged, in place of one adapter.

    Raises:
        UserError: `out` is there; a model that the run does not have, or that is a base; adapters that cannot be put
            together; with `merge`, a base that is not where the run found it.
    """
    from dataclasses import replace

    from w2s_core.cli.export_weights import weights_written, write_adapter, write_merged
    from w2s_core.cli.model_card import model_card
    from w2s_core.files import new_folder
    from w2s_core.recipes.record import read_record
    from w2s_core.rows import read_json

    record = read_record(store.refs, run)
    with new_folder(out) as folder, weights_written(out):
        exported = _described(store, record, run, model)
        artifact = store.path(exported.key)
        if merge:
            bases = {exported.ref: exported.place} if exported.place else {}
            precision = record["experiment"].get("precision", "float32")
            write_merged(artifact, bases, precision, folder)
        else:
            described = read_json(artifact / "model.json")
            if "weights" in described:
                raise UserError(f"model '{model}' of run {run}: all its weights were trained: use --merge")
            adapters = [artifact / name for name in described["adapters"]]
            rank = write_adapter(adapters, exported.place, exported.revision, folder)
            exported = replace(exported, rank=rank)
        (folder / "README.md").write_text(model_card(store, record, exported), encoding="utf-8")
    return exported


def _described(store: "Store", record: Mapping[str, Any], run: str, model: str) -> "Exported":
    """What is known of a model before anything is written."""
    from w2s_core.cli.model_card import Exported
    from w2s_core.rows import read_json

    models = models_of(store, record)
    if model not in models:
        trained = (name for name, key in sorted(models.items()) if not _is_base(store, key))
        listed = ", ".join(trained) or "none, since nothing that trains is computed"
        raise UserError(f"run {run} has no model '{model}'; there are: {listed}")
    artifact = read_json(store.path(models[model]) / "model.json")
    ref = artifact["base"]
    base, place, revision = base_place(record, ref)
    if _is_base(store, models[model]):
        raise UserError(
            f"'{model}' of run {run} is the base model {base} itself: it has no adapter to export"
        )
    return Exported(run, model, models[model], base, ref, place, revision, artifact.get("prompt"))


def base_place(record: Mapping[str, Any], ref: str) -> tuple[str, str | None, str | None]:
    """What a base model is called, where the run found it (a folder, or a hub id), and its revision on a hub.

    A record that does not tell the contents of its models apart gives the name by content alone.
    """
    from w2s_core.recipes.record import model_contents, model_name

    field = next((field for field, content in model_contents(record).items() if content == ref), None)
    if field is None:
        return ref, None, None
    place = str(record["experiment"][field])
    if not ref.startswith("hub"):
        return model_name(place), place, None
    hub_id, _, revision = place.partition("@")
    return hub_id, hub_id, revision


def _is_base(store: "Store", key: str) -> bool:
    return store.manifest(key)["spec"]["step"] == "base_model"


def models_of(store: "Store", record: Mapping[str, Any]) -> dict[str, str]:
    """The keys of the stored models of a run, by the names of judged ones and by the labels of steps."""
    from w2s_core.cli.model_card import JUDGED, judged_model
    from w2s_core.recipes.record import outline

    judged = {
        entry.name: judged_model(store, record["targets"][entry.label])
        for entry in outline(record)
        if entry.kind in JUDGED
    }
    models = {name: key for name, key in judged.items() if key}
    for label, key in record.get("steps", {}).items():
        manifest = store.peek(key)
        if manifest and "model.json" in manifest["files"]:
            models.setdefault(label, key)
    return models
