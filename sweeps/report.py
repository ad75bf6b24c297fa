"""What `w2s sweep` prints: the plan of a dry run, and the trials of a study."""

from collections.abc import Iterable
from itertools import islice
from statistics import mean

from sweeps.cells import PlannedCell, final_model, no_gc, share_right, union
from sweeps.driver import Sweep
from sweeps.study_file import Objective
from w2s_core.cli.render import seconds, size, table
from w2s_core.engine import Store, plan
from w2s_core.engine.planning import Estimates

SHOWN_CELLS = 30
COUNTED_CELLS = 500


def render_dry_run(sweep: Sweep, store: Store, workers: int) -> str:
    """Trials, distinct steps, what is cached, and what the rest should take in time and on disk."""
    settled = sweep.optuna.settled()
    space = sweep.planner.space
    if space.size is None:
        total = sweep.study.sampler.trials or 0
        return (
            f"{total} trials chosen by {sweep.study.sampler.name}, {len(settled)} settled; which cells these are, and "
            "so which steps they share, shows as they are chosen. One trial:\n"
            + _steps([sweep.plan(space.example())], store, workers)
        )
    cells = sweep.plan_all(space.cells())
    listed = "\n".join(f"  {cell.title}" for cell in islice(cells, SHOWN_CELLS))
    more = f"\n  and {len(cells) - SHOWN_CELLS} more" if len(cells) > SHOWN_CELLS else ""
    done = sum(cell.cell.digest in settled for cell in cells)
    seeds = len(sweep.study.seeds)
    return (
        f"{len(cells)} trials x {seeds} seed{'s' * (seeds > 1)}, {done} settled\n{listed}{more}\n"
        f"{_steps(cells, store, workers)}"
    )


def _steps(cells: Iterable[PlannedCell], store: Store, workers: int) -> str:
    cells = list(cells)
    with no_gc():
        planned = plan(union(cells, lambda run: run.graph.targets), store)
    counted = cells[:: max(1, len(cells) // COUNTED_CELLS)]
    alone = round(
        mean(len(run.steps) for cell in counted for run in cell.runs) * sum(len(one.runs) for one in cells)
    )
    about = "about " * (len(counted) < len(cells))
    missing = [one for one in planned if one.state == "missing"]
    cached = sum(one.state == "cached" for one in planned)
    estimates = Estimates(store)
    known = [one.expected_s for one in missing if one.expected_s is not None]
    sizes = [found for one in missing if (found := estimates.size(one.handle)) is not None]
    unknown = len(missing) - len(known)
    said = f"{seconds(sum(known) / workers)} with {workers} worker{'s' * (workers > 1)}"
    return (
        f"{len(planned)} distinct steps for {about}{alone} of single runs, {cached} cached, {len(missing)} to compute\n"
        f"expected: {said}, {size(sum(sizes))} on disk"
        + (f"; {unknown} steps have never been timed in this store" if unknown else "")
    )


def render_trials(sweep: Sweep, store: Store) -> str:
    """The settled trials, best first for a single objective, with their accuracy on test where it was read."""
    objectives = sweep.study.objectives
    read = {title for one in sweep.optuna.test_reads() for title in one["cells"]}
    rows = []
    for trial in _ranked(sweep, objectives):
        planned = sweep.plan(sweep.optuna.cell_of(trial))
        values = [_shown(one, value) for one, value in zip(objectives, trial.values or (), strict=False)]
        values += [""] * (len(objectives) - len(values))
        test = _test_accuracy(planned, store) if planned.title in read else ""
        rows.append((str(trial.number), planned.title, *values, test, trial.state.name.lower()))
    columns = ("trial", "cell", *(f"{one.metric} (dev)" for one in objectives), "accuracy (test)", "state")
    return table(columns, rows)


def _ranked(sweep: Sweep, objectives: tuple[Objective, ...]) -> list:  # type: ignore[type-arg]
    settled = [
        one for one in sweep.optuna.settled().values() if sweep.planner.space.has(sweep.optuna.cell_of(one))
    ]
    if len(objectives) > 1:
        return settled
    sign = -1 if objectives[0].direction == "maximize" else 1
    return sorted(settled, key=lambda one: (one.values is None, sign * (one.values or [0])[0], one.number))


def _shown(objective: Objective, value: float) -> str:
    return f"{value:,.0f}" if objective.metric.endswith("tokens") else f"{100 * value:.1f}"


def _test_accuracy(planned: PlannedCell, store: Store) -> str:
    """Mean over seeds of the final model's greedy accuracy on test, in per cent."""
    shares = []
    for run in planned.runs:
        target = run.with_test.targets.get(f"greedy/test/{final_model(run.graph.experiment)}")
        if target is None or not store.has(target.key):
            return "missing"
        shares.append(share_right(target, store))
    return f"{100 * sum(shares) / len(shares):.1f}"
