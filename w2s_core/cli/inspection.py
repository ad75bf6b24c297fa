"""Look at plans, runs and steps: what `w2s plan`, `runs`, `show` and `explain` print."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from w2s_core.cli.render import counted, fields, seconds, table, when
from w2s_core.cli.run_list import RunFilter, RunRow, list_runs, right_share
from w2s_core.engine import Garbage, Handle, Planned, Store, forecast, plan
from w2s_core.engine.forecast import Forecast
from w2s_core.engine.gc import TRASH_DAYS
from w2s_core.engine.spec import is_earlier_format
from w2s_core.engine.step import topological
from w2s_core.errors import UserError, one_line
from w2s_core.recipes.record import model_contents, model_names, outline, read_record, recipe_name
from w2s_core.step_labels import closest, label_steps

if TYPE_CHECKING:
    from w2s_core.runs import Graph


def find_run(store: Store, name: str) -> str:
    """The run of that name, or the only one whose name starts so. Raises UserError where there is none, or several."""
    names = list(store.refs.names())
    if name in names:
        return name
    matches = [candidate for candidate in names if candidate.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"'{name}' could be {', '.join(matches[:5])}: give more of the run's name")
    known = f"; known: {', '.join(names[:5])}" if names else "; the store holds no run yet"
    raise UserError(f"no run is named '{name}' in {store.root}{known}")


@dataclass(frozen=True)
class Outlook:
    """A plan with what is expected of it: by the store alone, and with what was measured of this machine."""

    from_store: list[Planned]
    steps: list[Planned]
    ahead: Forecast


def look_ahead(graph: "Graph", store: Store, device: str, *, measure: bool) -> Outlook:
    """Plan a graph; `measure`: time this machine on base models of which nothing is known."""
    from w2s_core.cli.speed import estimated, speeds
    from w2s_core.models import resolve_device

    from_store = plan(graph.targets, store)
    steps = estimated(from_store, graph, speeds(graph, resolve_device(device), measured=measure))
    return Outlook(from_store, steps, forecast(steps, store, device))


def plan_document(
    graph: "Graph", store: Store, device: str = "auto", *, measure: bool = False
) -> dict[str, Any]:
    """A plan as `w2s plan --json` prints it.

    Returns:
        run (the name that it would have), recipe, task, seed; expected_s (seconds of the missing steps whose length is
        known) and unknown (how many are not); steps: step, state ("cached", "missing", "not needed"), likely (None,
        "twin": of the same content as another result, "extends": takes a part of one), expected_s, key.
    """
    outlook = look_ahead(graph, store, device, measure=measure)
    labels = label_steps(graph.targets)
    likely = dict.fromkeys(outlook.ahead.extended, "extends") | dict.fromkeys(outlook.ahead.twins, "twin")
    missing = [step.expected_s for step in outlook.steps if step.state == "missing"]
    known = [seconds for seconds in missing if seconds is not None]
    steps = [
        {
            "step": labels[key],
            "state": step.state,
            "likely": likely.get(key),
            "expected_s": step.expected_s,
            "key": key,
        }
        for step in outlook.steps
        for key in [step.handle.key]
    ]
    experiment = graph.experiment
    head = {"run": experiment.run_name, "recipe": experiment.recipe, "task": experiment.task.name}
    sums = {"expected_s": sum(known), "unknown": len(missing) - len(known)}
    return {**head, "seed": experiment.seed, **sums, "steps": steps}


def render_plan(graph: "Graph", store: Store, device: str = "auto", *, measure: bool = False) -> str:
    """The graph's steps in order with their state and expected time, and the sum of what is missing."""
    outlook = look_ahead(graph, store, device, measure=measure)
    steps, ahead = outlook.steps, outlook.ahead
    labels = label_steps(graph.targets)
    states = dict.fromkeys(ahead.extended, "missing, extends") | dict.fromkeys(ahead.twins, "missing, a twin")
    rows = [
        (labels[key], states.get(key, step.state), seconds(step.expected_s), key[:12])
        for step in steps
        for key in [step.handle.key]
    ]
    listed = table(("step", "state", "expected", "key"), rows)
    return "\n".join(
        [listed, "", _sum(steps) + _basis(outlook.from_store, steps), *filter(None, [str(ahead)])]
    )


def _basis(from_store: Sequence[Planned], steps: Sequence[Planned]) -> str:
    """What the estimate stands on, where not on the store alone: one line."""
    new = [
        step.expected_s
        for known, step in zip(from_store, steps, strict=True)
        if step.state == "missing" and known.expected_s is None and step.expected_s is not None
    ]
    if new:
        basis = (
            "a short measurement of this machine: one worker, responses as long as gold, all questions kept"
        )
        return f"\n{seconds(sum(new))} of it by {basis}"
    if any(
        step.state == "missing" and step.expected_s is None and "model" in step.handle.inputs
        for step in steps
    ):
        return "\n`w2s plan CONFIG --measure` times this machine on the base models"
    return ""


def _sum(steps: Sequence[Planned]) -> str:
    missing = [step for step in steps if step.state == "missing"]
    durations = [step.expected_s for step in missing if step.expected_s is not None]
    unknown = len(missing) - len(durations)
    text = f"{len(steps)} steps: {counted(step.state for step in steps)}; expected {seconds(sum(durations))}"
    return text + (f" and {unknown} steps of unknown length" if unknown else "")


def render_runs(store: Store, chosen: RunFilter | None = None) -> str:
    """One line a run: when, recipe, task, base models by field, seed, how much is computed, and what was asked for."""
    rows = list_runs(store, chosen)
    if not rows:
        return (
            f"no run in {store.root} is like that"
            if chosen
            else f"no run in {store.root} yet; start one with: w2s run EXPERIMENT.yaml"
        )
    asked = list(chosen.accuracy) if chosen else []
    tagged = any(row.tags for row in rows)
    header = ("run", "started", "recipe", "task", "base models", "seed", "state", *asked, *["tags"] * tagged)
    return table(header, [_run_cells(row, asked, tagged) for row in rows])


def _run_cells(row: RunRow, asked: Sequence[str], tagged: bool) -> tuple[str, ...]:
    if not row.targets:
        return (row.run, "?", "?", "?", "?", "?", "no record of a run", *[""] * (len(asked) + tagged))
    models = ", ".join(f"{field} {model}" for field, model in row.models.items())
    state = "complete" if row.complete else f"{row.done} of {row.targets} targets"
    shares = ("" if (share := row.accuracy[label]) is None else f"{100 * share:.1f}" for label in asked)
    plain = (row.run, _moment(row.started), str(row.recipe), str(row.task), models, str(row.seed), state)
    return (*plain, *shares, *[" ".join(row.tags)] * tagged)


def _moment(started: str | None) -> str:
    try:
        return when(str(started))
    except ValueError:
        return "?"


def render_garbage(garbage: Garbage, dry_run: bool) -> str:
    """What gc removed, or would, for which reason, and how to get it back."""
    steps = ", ".join(f"{count} {step}" for step, count in garbage.steps.most_common())
    lines = [
        f"{len(garbage.objects)} results that no run names{f': {steps}' if steps else ''}",
        f"{len(garbage.leftovers)} leftovers of ended processes (unfinished writes, scratch, graphs of finished runs)",
        f"{garbage.size / 1e6:.1f} MB {'would be removed' if dry_run else 'in both'}",
    ]
    if garbage.trash:
        lines.append(
            f"the results lie in {garbage.trash} for {TRASH_DAYS} days: w2s gc --restore puts them back, "
            "w2s gc --empty-trash deletes them now"
        )
    if garbage.emptied:
        lines.append(f"{garbage.emptied / 1e6:.1f} MB of earlier trash were deleted")
    return "\n".join(lines)


def render_record(store: Store, name: str) -> str:
    """A run's experiment, by the fields of its own recipe, and the targets that it points at."""
    record = read_record(store.refs, name)
    settings = "\n".join(one_line(f"  {field} = {value}") for field, value in fields(record["experiment"]))
    targets = [
        (label, _state(store, key), _summary(store, key), key[:12])
        for label, key in ((entry.label, record["targets"][entry.label]) for entry in outline(record))
    ]
    duplicates = record["duplicates"]
    return (
        f"run {name}, started {_moment(record['started'])}\n{_of_user(record)}"
        f"command: {' '.join(record['command'])}\n{settings}\n"
        f"questions: {', '.join(f'{split} {n}' for split, n in record['questions'].items())}; "
        f"duplicates found {duplicates['found']}, dropped {duplicates['dropped']}\n\n"
        f"{table(('target', 'state', 'summary', 'key'), targets)}"
    )


def run_document(store: Store, name: str) -> dict[str, Any]:
    """A run as `w2s show --json` prints it.

    Returns:
        run, started, recipe, task, seed, study, tags, note, command (words), experiment (all fields, nested); models
        (by field: name, content), questions (by split), duplicates (found, dropped), steps (keys by label); targets:
        label, kind, name, title, role, split, key, state ("computed", "missing", "damaged"), accuracy (share of right
        answers, None where it is no grade), summary.
    """
    record = read_record(store.refs, name)
    contents = model_contents(record)
    models = {
        field: {"name": model, "content": contents.get(field)} for field, model in model_names(record).items()
    }
    targets = []
    for entry in outline(record):
        key = record["targets"][entry.label]
        manifest = store.peek(key)
        targets.append(
            {"label": entry.label, **asdict(entry), "key": key, "state": _state(store, key)}
            | {"accuracy": right_share(manifest), "summary": manifest["summary"] if manifest else None}
        )
    plain = (
        "started",
        "task",
        "seed",
        "study",
        "note",
        "command",
        "experiment",
        "questions",
        "duplicates",
        "steps",
    )
    return {
        "run": name,
        "recipe": recipe_name(record),
        "tags": record.get("tags", []),
        **{field: record.get(field) for field in plain},
        "models": models,
        "targets": targets,
    }


def _of_user(record: Mapping[str, Any]) -> str:
    lines = [f"tags: {' '.join(record['tags'])}"] if record.get("tags") else []
    lines += [one_line(f"note: {record['note']}")] if record.get("note") else []
    return "".join(f"{line}\n" for line in lines)


def _state(store: Store, key: str) -> str:
    if not store.has(key):
        return "missing"
    return "computed" if store.peek(key) else "damaged"


def _summary(store: Store, key: str) -> str:
    manifest = store.peek(key)
    summary = manifest["summary"] if manifest else {}
    plain = [(name, value) for name, value in summary.items() if isinstance(value, int | float | str)]
    return ", ".join(f"{name} {value}" for name, value in plain[:5])


def render_explanation(store: Store, run: str, step_name: str, other: str | None) -> str:
    """Why a step of a run has its key; against another run, what differs there and where that began."""
    from w2s_core.engine.explain import explain

    key = _find_step(store, run, step_name)
    against = _find_step(store, other, step_name) if other else None
    state = "in the store" if store.has(key) else "not computed"
    compared = _best(store, other, against) if other and against else None
    return f"{step_name} of run {run}: {state}\n{explain(_best(store, run, key), store, other=compared)}"


def _find_step(store: Store, run: str, name: str) -> str:
    """The key of a step of a run, by its label or by the beginning of its key."""
    steps: dict[str, str] = read_record(store.refs, run)["steps"]
    keys = (
        [steps[name]]
        if name in steps
        else [k for k in steps.values() if len(name) >= 4 and k.startswith(name)]
    )
    if len(keys) != 1:
        near = ", ".join(closest(list(steps), name) or list(steps)[:5])
        raise UserError(f"run {run} has no step '{name}'; steps like it: {near}")
    return keys[0]


def _best(store: Store, run: str, key: str) -> Handle | str:
    """The key where its manifest tells all; for a step not computed yet, the handle planned anew.

    Raises:
        UserError: the run's recipe cannot be had here, or the step has another key today.
    """
    if store.has(key):
        return key
    from w2s_core.experiment import read_recorded
    from w2s_core.runs import build_graph

    record = read_record(store.refs, run)
    graph = build_graph(read_recorded(record))
    handles = {handle.key: handle for handle in topological(graph.targets.values())}
    if key in handles:
        return handles[key]
    label = next((label for label, recorded in record["steps"].items() if recorded == key), key[:12])
    today = [handle_key for handle_key, name in label_steps(graph.targets).items() if name == label]
    planned = f"has the key {today[0][:12]}" if today else "is no step of that run"
    specs = [manifest["spec"] for manifest in map(store.peek, record["steps"].values()) if manifest]
    cause = (
        "the run was planned with an earlier key format"
        if any(map(is_earlier_format, specs))
        else "data, a model, code or a library is not as it was"
    )
    raise UserError(
        f"{label} of run {run} (key {key[:12]}) was never computed, and planned now it {planned}: {cause}"
    )
