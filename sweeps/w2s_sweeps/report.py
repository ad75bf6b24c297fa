"""What `w2s sweep` prints: the plan of a dry run, and the trials of a study."""

from collections.abc import Iterable
from itertools import islice
from statistics import mean

from w2s_core.cli.render import seconds, size, table
from w2s_core.engine import Store, forecast, plan
from w2s_core.engine.planning import Estimates
from w2s_core.errors import UserError
from w2s_sweeps.cells import PlannedCell, final_model, judged, no_gc, share_right
from w2s_sweeps.driver import Sweep
from w2s_sweeps.study_file import COSTS, Objective

SHOWN_CELLS = 30
COUNTED_RUNS = 500


def render_dry_run(sweep: Sweep, store: Store, workers: int, device: str) -> str:
    """Trials, distinct steps, what is cached, and what the rest should take in time and on disk."""
    settled = sweep.optuna.settled()
    space = sweep.planner.space
    if space.size is None:
        total = sweep.study.sampler.trials or 0
        return (
            f"{total} trials chosen by {sweep.study.sampler.name}, {len(settled)} settled; which cells these are, and "
            "so which steps they share, shows as they are chosen. One trial:\n"
            + _steps([sweep.plan(space.example())], store, workers, device)
        )
    cells = sweep.plan_all(space.cells())
    listed = "\n".join(f"  {cell.title}" for cell in islice(cells, SHOWN_CELLS))
    more = f"\n  and {len(cells) - SHOWN_CELLS} more" if len(cells) > SHOWN_CELLS else ""
    done = sum(cell.cell.digest in settled for cell in cells)
    seeds = len(sweep.study.seeds)
    return (
        f"{len(cells)} trials x {seeds} seed{'s' * (seeds > 1)}, {done} settled\n{listed}{more}\n"
        f"{_steps(cells, store, workers, device)}"
    )


def _steps(cells: Iterable[PlannedCell], store: Store, workers: int, device: str) -> str:
    runs = [run for cell in cells for run in cell.runs]
    with no_gc():
        planned = plan((target for run in runs for target in run.graph.targets.values()), store)
        ahead = str(forecast(planned, store, device))
    counted = runs[:: max(1, len(runs) // COUNTED_RUNS)]
    alone = round(mean(len(run.steps) for run in counted) * len(runs))
    about = "about " * (len(counted) < len(runs))
    missing = [step for step in planned if step.state == "missing"]
    cached = sum(step.state == "cached" for step in planned)
    estimates = Estimates(store)
    durations = [step.expected_s for step in missing if step.expected_s is not None]
    sizes = [bytes_ for step in missing if (bytes_ := estimates.size(step.handle)) is not None]
    unknown = len(missing) - len(durations)
    duration = f"{seconds(sum(durations) / workers)} with {workers} worker{'s' * (workers > 1)}"
    return (
        f"{len(planned)} distinct steps for {about}{alone} of single runs, {cached} cached, {len(missing)} to compute\n"
        + f"{ahead}\n" * bool(ahead)
        + f"expected: {duration}, {size(sum(sizes))} on disk"
        + (f"; {unknown} steps have never been timed in this store" if unknown else "")
    )


def render_trials(sweep: Sweep, store: Store) -> str:
    """The settled trials, best first for a single objective, with their accuracy on test where it was read."""
    objectives = sweep.study.objectives
    test_read = {title for read in sweep.optuna.test_reads() for title in read["cells"]}
    rows = []
    for trial in _ranked(sweep, objectives):
        planned = sweep.plan(sweep.optuna.cell_of(trial))
        values = [_value(goal, value) for goal, value in zip(objectives, trial.values or (), strict=False)]
        values += [""] * (len(objectives) - len(values))
        test = _test_accuracy(planned, store) if planned.title in test_read else ""
        rows.append((str(trial.number), planned.title, *values, test, trial.state.name.lower()))
    columns = ("trial", "cell", *map(_heading, objectives), "accuracy (test)", "state")
    return table(columns, rows)


def _ranked(sweep: Sweep, objectives: tuple[Objective, ...]) -> list:  # type: ignore[type-arg]
    trials = sweep.optuna.settled().values()
    settled = [trial for trial in trials if sweep.planner.space.has(sweep.optuna.cell_of(trial))]
    if len(objectives) > 1:
        return settled
    sign = -1 if objectives[0].direction == "maximize" else 1
    return sorted(settled, key=lambda t: (t.values is None, sign * (t.values or [0])[0], t.number))


def _heading(objective: Objective) -> str:
    # Other metrics name their split, or have none: labels are of training questions, costs of whole runs.
    return "accuracy (dev)" if objective.metric == "accuracy" else objective.metric


def _value(objective: Objective, value: float) -> str:
    return f"{value:,.0f}" if objective.metric in COSTS else f"{100 * value:.1f}"


def _test_accuracy(planned: PlannedCell, store: Store) -> str:
    """Mean over seeds of the final model's greedy accuracy on test, in per cent."""
    shares = []
    for run in planned.runs:
        try:
            label = judged(final_model(run.graph.experiment), "test")
        except UserError:  # the objective names one of several final models
            return "several models"
        target = run.with_test.targets.get(label)
        if target is None or not store.has(target.key):
            return "missing"
        shares.append(share_right(target, store))
    return f"{100 * sum(shares) / len(shares):.1f}"
