"""`w2s doctor`: what is here, what an experiment needs of it, and the command that mends what is not."""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import click

from w2s_core import memory
from w2s_core.accelerate_config import read_accelerate_config
from w2s_core.cli_options import compute_options, data_option
from w2s_core.doctor import (
    MEND,
    Check,
    data_check,
    fetch_check,
    find_device,
    free_disk,
    machine_checks,
    one_line,
)
from w2s_core.doctor_memory import Model, Plan, memory_checks
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.models import resolve_device
from w2s_core.render import size

CHECKPOINT = 3
"""A training's checkpoint is the adapter and AdamW's two moments."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.argument("overrides", nargs=-1)
@data_option
@compute_options
@click.pass_obj
def doctor(
    root: Path | None,
    /,
    config: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workers: int | None,
    executor: Literal["local", "ray"],
    device: str,
    micro_batch: int | None,
    accelerate: Path | None,
    **_others: Any,  # of run's options, those that change nothing here
) -> None:
    """Check this machine and, with CONFIG, whether that experiment can run on it.

    Takes what `w2s run` takes: OVERRIDES are field=value. Nothing is downloaded or computed. Exit status 1 if
    something that CONFIG needs is missing. `unknown` is what cannot be told from here.
    """
    store = root or Path(".w2s")
    wanted = None
    if config is not None:
        from w2s_core.experiment import load_experiment

        wanted = load_experiment(config, overrides, data)
    elif data is not None:
        raise UserError(
            "--data says something about an experiment: name its file, w2s doctor CONFIG --data DIR"
        )
    checks = list(machine_checks(store))
    if wanted is not None:
        shared = read_accelerate_config(accelerate) if accelerate else {}
        checks += experiment_checks(wanted, store, device, workers or 1, micro_batch, shared)
        asked = {"ray"} if executor == "ray" else set()
        asked |= {wanted.engine}
        checks = [_now_needed(one) if one.what in asked else one for one in checks]
    click.echo(render(checks))
    if wanted is not None and any(one.needed and one.status == "missing" for one in checks):
        sys.exit(1)


def _now_needed(check: Check) -> Check:
    return Check(
        check.status, check.what, check.detail.replace("optional", "needed"), check.mend, needed=True
    )


def render(checks: Iterable[Check]) -> str:
    """Aligned lines: status, what, detail, and the command that mends it after an arrow.

    Names come from files that others wrote: what would move a terminal's cursor is left out.
    """
    listed = list(checks)
    width = max(len(one.what) for one in listed)
    lines = (
        f"{one.status:<7}  {one.what:<{width}}  {one.detail}{'  -> ' + one.mend if one.mend else ''}"
        for one in listed
    )
    return "\n".join("".join(one if one.isprintable() else " " for one in line) for line in lines)


def experiment_checks(
    x: Experiment,
    store: Path,
    device: str,
    workers: int,
    micro_batch: int | None,
    accelerate: Mapping[str, Any],
) -> Iterator[Check]:
    """Everything that the experiment `x` needs: data, both models, memory for each kind of step, disk."""
    x = x.on(resolve_device(device))
    yield Check("ok", "experiment", f"{x.run_name} (task {x.task.name})")
    questions, line = data_check(x)
    yield line
    models = {}
    for side in ("weak", "strong"):
        try:
            models[side], lines = model_checks(side, getattr(x, side))
        except (OSError, ValueError) as error:  # a path that is none, or that may not be looked at
            models[side] = Model(side, why="its folder cannot be looked at")
            lines = [Check("missing", side, one_line(error), needed=True)]
        yield from lines
    put = find_device(device)
    if put is None:
        yield Check("missing", "device", "torch sees no GPU for --device cuda", "w2s doctor", needed=True)
    try:
        trainings, samples = memory.planned(x)
    except UserError as error:  # 4-bit weights without bitsandbytes
        yield Check("missing", "load_in_4bit", str(error), MEND["bitsandbytes"], needed=True)
        return
    if put is not None:
        plan = Plan(put, workers, micro_batch, accelerate)
        for model in models.values():
            yield from memory_checks(x, model, trainings, plan)
    yield disk_check(x, models, trainings, _responses(samples, questions), store, workers)


# Models


def model_checks(side: str, model: str) -> tuple[Model, list[Check]]:
    """What is known of a side's base, and the lines about it."""
    nothing = Model(side)
    if Path(model).is_absolute():
        return folder_checks(side, Path(model), f"hf download ORG/MODEL --local-dir {quote(model)}")
    from w2s_core.runs import resolve_base

    try:
        ref, name = resolve_base(model)
    except UserError as error:
        return nothing, [Check("missing", side, str(error), f"{side}=org/model@commit", needed=True)]
    revision = ref.rpartition("@")[2]
    command = f"hf download {quote(name)} --revision {quote(revision)}"
    try:
        folder = _cached(name, revision)
    except ValueError as error:  # the hub's client: no possible name
        return nothing, [
            Check("missing", side, f"{name}: {one_line(error)}", f"{side}=org/model@commit", needed=True)
        ]
    if folder is not None and any(folder.glob("*.safetensors")):
        return folder_checks(side, folder, command)
    known = _from_config(side, folder) if folder else nothing
    guess = f", about {size(known.parameters * memory.HALF)}" if known.parameters else ""
    return known, [fetch_check(side, name, revision, guess, command)]


def _cached(name: str, revision: str) -> Path | None:
    """The folder of the hub's cache that holds this revision, as far as it was fetched."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _from_config(side: str, folder: Path) -> Model:
    """What a config alone tells."""
    if not (folder / "config.json").is_file():
        return Model(side)
    try:
        shape = memory.Shape.of(memory.read_config(folder), folder / "config.json")
        return Model(side, shape, memory.count_parameters(folder))
    except UserError as error:
        return Model(side, why=str(error))


def folder_checks(side: str, folder: Path, command: str) -> tuple[Model, list[Check]]:
    """Config, weights and tokenizer of a folder, each as `w2s run` wants it; `command` would fetch them."""
    try:
        if not any(folder.glob("*.safetensors")):
            _load_tokenizer(folder)  # says what is missing, before it loads anything
        config = memory.read_config(folder)
        weights = memory.read_weights(folder, config)
        _check_layers(folder, weights)
    except UserError as error:
        return _from_config(side, folder), [Check("missing", side, str(error), command, needed=True)]
    try:
        model = Model(side, memory.Shape.of(config, folder / "config.json"), weights.parameters)
    except UserError as error:
        model = Model(side, why=str(error))
    said = f"{folder}: {_count(weights.parameters)} parameters, {size(weights.size)} of safetensors"
    return model, [Check("ok", side, said), _tokenizer_check(side, folder, model.shape, command)]


def _check_layers(folder: Path, weights: memory.Weights) -> None:
    """Raise UserError for a model without the layers that get an adapter."""
    from w2s_core.training.core import TARGETS

    modules = {name.split(".")[-2] for name in weights.names if "." in name}
    if absent := [one for one in TARGETS if one not in modules]:
        raise UserError(f"{folder}: no layers named {', '.join(absent)}, which adapters are trained on")


def _tokenizer_check(side: str, folder: Path, shape: memory.Shape | None, command: str) -> Check:
    """A tokenizer whose EOS has an embedding."""
    what = f"{side} tokenizer"
    try:
        found = _named_eos(folder)
        if found is None:
            tokenizer = _load_tokenizer(folder)
            found = tokenizer.eos_token, tokenizer.eos_token_id
    except UserError as error:
        return Check("missing", what, str(error), command, needed=True)
    token, number = found
    if shape is not None and number >= shape.vocabulary:
        said = f"EOS {token} has the number {number}, but the model only {shape.vocabulary} embeddings"
        mend = f"set eos_token in {folder / 'tokenizer_config.json'}"
        return Check("missing", what, said, mend, needed=True)
    return Check("ok", what, f"EOS {token} ({number})")


def _named_eos(folder: Path) -> tuple[str, int] | None:
    """EOS and its number, where tokenizer.json and the configs beside it say so plainly; None where only the
    tokenizer's own class can tell, which takes seconds to import.
    """
    try:
        named: Any = None
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                named = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token") or named
        token = named.get("content") if isinstance(named, Mapping) else named
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        numbers = {one["content"]: one["id"] for one in content.get("added_tokens") or []}
        number = numbers.get(token, content["model"]["vocab"].get(token))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (token, number) if isinstance(token, str) and isinstance(number, int) else None


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer as a run loads it, without the digest of the weights that a run takes first."""
    from w2s_core.models import load_tokenizer

    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "model.json").write_text(json.dumps({"base": "looked at", "adapters": []}))
        return load_tokenizer(made, {"looked at": folder})


def _count(parameters: int) -> str:
    """Parameters for people: 230 k, 6.74 B."""
    for unit, one in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if parameters >= one:
            return f"{parameters / one:.3g} {unit}"
    return str(parameters)


# Memory and disk


def _responses(samples: list[tuple[int, int, str]], questions: dict[str, int] | None) -> int:
    """Bytes of all responses at most, at four characters a token; 0 where the questions are not known."""
    return sum(4 * n * tokens * questions[split] for n, tokens, split in samples) if questions else 0


def disk_check(
    x: Any,
    models: Mapping[str, Model],
    trainings: list[memory.Training],
    texts: int,
    store: Path,
    workers: int,
) -> Check:
    """Adapters of all trained models, checkpoints of those in work, and texts, against what is free at the store."""
    free = free_disk(store)
    shapes = {side: model.shape for side, model in models.items()}
    adapters = [
        sum(memory.lora_parameters(shape, rank) for rank in one.ranks) * memory.FLOAT32
        for one in trainings
        if (shape := shapes[one.side]) is not None
    ]
    if len(adapters) < len(trainings) or free is None:
        return Check("unknown", "store", f"{len(trainings)} adapters of unknown size")
    need = sum(adapters) + workers * CHECKPOINT * max(adapters) + texts
    said = f"up to {size(need)} for {len(trainings)} adapters, checkpoints and texts; {size(free)} free"
    if need > free:
        return Check("missing", "store", said, "w2s --store DIR run CONFIG", needed=True)
    return Check("ok", "store", said)
