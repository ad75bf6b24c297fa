"""Feed trackers from a run's record and its finished steps, so that cached and computed results look alike in them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.rows import read_json, read_rows
from w2s_core.tracking.trackers import Job, check_trackers, run_id, send, to_stderr

CONFIG_FIELDS = (
    "run", "study", "cell", "experiment", "weak", "strong", "task", "seed", "questions", "command", "started"
)  # fmt: skip
STAGES = ("sft:", "prefer:", "agree:", "pairs", "vote")
"""Beginnings of the labels of steps by whose keys a tracker can tell, and group, runs that share a stage."""
ACCURACY_NAMES = {"greedy": "accuracy", "samples": "sampled_accuracy", "labels": "label_precision"}


def mirror_run(
    store: Store,
    run_name: str,
    names: Iterable[str],
    folder: Path,
    *,
    online: bool = False,
    group: str | None = None,
    values: Mapping[str, float] | None = None,
    warn: Callable[[str], None] = to_stderr,
) -> None:
    """Mirror a recorded run to the named trackers. Whatever goes wrong on the way is a warning.

    Args:
        store: holds the run's ref and its results; a run that is not finished is mirrored as far as it is.
        run_name: the name of the run's ref.
        names: of "wandb", "trackio".
        folder: W&B writes to `folder`/wandb, Trackio to `folder`/trackio.
        online: let W&B send, where the user is logged in; Trackio is always local.
        group: runs of a group are shown together; by default those of the same task and models.
        values: more values of the run as a whole, such as a sweep's objectives.
        warn: takes each warning, one line.

    Raises:
        UserError: an unknown tracker, or no such run.
    """
    trackers = list(dict.fromkeys(names))
    check_trackers(trackers)
    record = store.refs.read(run_name)
    rows: dict[int, dict[str, float]] = {}
    summary: dict[str, float] = {}
    try:
        rows = curves(record, store)
        summary = dict(_grades(record["targets"], store))
    except (UserError, OSError, KeyError, ValueError) as error:
        warn(f"run {run_name} is mirrored in part only ({type(error).__name__}: {error})")
    job = Job(
        run_name=run_name,
        run_id=_id_of(run_name, record),
        config=run_config(record),
        folder=str(folder),
        rows=sorted(rows.items()),
        summary=summary | dict(values or {}),
        group=group or _default_group(record),
        online=online,
    )
    for tracker in trackers:
        send(tracker, job, warn)


def _id_of(run_name: str, record: Mapping[str, Any]) -> str:
    # A run that reads test later, as the final cells of a sweep do, stays the same run.
    return run_id(run_name, {label: key for label, key in record["targets"].items() if "/test/" not in label})


def _default_group(record: Mapping[str, Any]) -> str | None:
    """Runs of the same task and models."""
    return "-".join(str(record[name]) for name in ("task", "weak", "strong") if name in record) or None


def run_config(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a tracker shows as a run's configuration."""
    config = {name: record[name] for name in CONFIG_FIELDS if name in record}
    stages = {label: key[:12] for label, key in record.get("steps", {}).items() if label.startswith(STAGES)}
    return config | {"stages": stages} if stages else config


def curves(record: Mapping[str, Any], store: Store) -> dict[int, dict[str, float]]:
    """A run's training metrics of all methods by optimiser step; unfinished trainings are left out.

    One row a step for all methods, since W&B drops rows whose step goes back.

    Raises:
        CorruptObject: a result that is read was damaged.
    """
    rows: dict[int, dict[str, float]] = {}
    for method, log in _training_logs(record["targets"], store):
        for entry in log:
            if isinstance(step := entry.get("step"), int):
                rows.setdefault(step, {}).update(_numbers(entry, method))
    return rows


def _training_logs(targets: Mapping[str, str], store: Store) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The log of each trained model that a grade leads back to, by method, once a method."""
    methods: set[str] = set()
    for label, key in sorted(targets.items()):
        method = label.rsplit("/", 1)[-1]
        if not label.startswith(("greedy/", "samples/")) or method in methods:
            continue
        model = _follow(store, key, "responses", "model")
        if model and (file := store.path(model) / "training.json").is_file():
            methods.add(method)
            yield method, read_json(file)["log"]


def _follow(store: Store, key: str, *inputs: str) -> str | None:
    """The key at the end of a path of input names, or None where a step on the way is not finished."""
    for name in inputs:
        if not store.has(key):
            return None
        key = store.manifest(key)["spec"]["inputs"][name]
    return key if store.has(key) else None


def _numbers(entry: Mapping[str, Any], method: str) -> dict[str, float]:
    return {
        f"{method}/{name}": value
        for name, value in entry.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _grades(targets: Mapping[str, str], store: Store) -> Iterator[tuple[str, float]]:
    """Names and values of the summary: the share of right answers of each graded target, and the sizes of the sets."""
    for label, key in sorted(targets.items()):
        if not store.has(key) or not (file := store.path(key) / "grades.parquet").is_file():
            continue
        kind, _, rest = label.partition("/")
        share, questions = _share_right(file)
        name = f"{ACCURACY_NAMES[kind]}/{rest}" if rest and kind in ACCURACY_NAMES else f"accuracy/{label}"
        if share is not None:
            yield name, share
        if kind == "labels":
            yield f"label_rows/{rest}", questions


def _share_right(file: Path) -> tuple[float | None, int]:
    """Right verdicts over all verdicts (None if there are none), and the number of questions."""
    rows = read_rows(file)
    verdicts = Counter(verdict for row in rows for verdict in row["verdicts"])
    total = verdicts.total()
    return (verdicts["right"] / total if total else None), len(rows)
