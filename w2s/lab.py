"""A store of results and what one does with it: plan and run experiments, list runs, compare them, draw figures.

Everything returned is a pandas DataFrame, a matplotlib figure or plain data. Imports of heavy libraries stand inside.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from w2s_analysis.reading.study import Study
    from w2s_analysis.writing.table import Table
    from w2s_core.engine import Executor
    from w2s_core.runs import Graph

Fields = Mapping[str, Any]


class Lab:
    """A store of results.

    Args:
        store: its folder, which is made when something is first computed.
    """

    def __init__(self, store: str | Path = ".w2s") -> None:
        from w2s_core.engine import Store

        self.store = Store(Path(store))

    def __repr__(self) -> str:
        return f"Lab({str(self.store.root)!r})"

    def __getitem__(self, name: str) -> "Run":
        """The run of that name, or the only one whose name starts so. Raises UserError where there is none."""
        from w2s_core.cli.inspection import find_run

        return Run(self, find_run(self.store, name))

    def runs(
        self,
        *,
        study: str | None = None,
        tags: Sequence[str] = (),
        where: Fields | None = None,
        accuracy: Sequence[str] = (),
    ) -> "pd.DataFrame":
        """A row a run: name, start, recipe, task, base models, seed, study, tags, note, done of targets, complete.

        Args:
            study, tags: only runs of that study, with all these tags.
            where: only runs whose experiment has these values, by dotted field: {"evaluation.samples": 0}.
            accuracy: graded targets, such as `greedy/test/dpo`, whose share of right answers is a column.

        Raises:
            UserError: a field or target that no run has.
        """
        import pandas as pd

        from w2s_core.cli.run_list import RunFilter, list_runs

        chosen = RunFilter(study=study, tags=tags, where=where or {}, accuracy=accuracy)
        rows = []
        for row in list_runs(self.store, chosen):
            plain = asdict(row)
            rows.append({**plain, **plain.pop("models"), "complete": row.complete, **plain.pop("accuracy")})
        return pd.DataFrame(rows).drop(columns=["models", "accuracy"], errors="ignore")

    def plan(self, experiment: str | Path, overrides: Fields | None = None, **fields: Any) -> "pd.DataFrame":
        """The steps of an experiment in order: step, state (cached or missing), expected seconds (nan: unknown), key.

        See `run` for the arguments. Computes nothing.
        """
        import pandas as pd

        from w2s_core.engine import plan
        from w2s_core.step_labels import label_steps

        graph = self._graph(experiment, overrides, fields)
        labels = label_steps(graph.targets)
        rows = [
            (labels[step.handle.key], step.state, step.expected_s, step.handle.key)
            for step in plan(graph.targets, self.store)
        ]
        return pd.DataFrame(rows, columns=["step", "state", "expected_s", "key"])

    def run(
        self,
        experiment: str | Path,
        overrides: Fields | None = None,
        *,
        name: str | None = None,
        workers: int = 1,
        executor: "Executor" = "local",
        **fields: Any,
    ) -> "Run":
        """Compute what is missing of an experiment, with a progress display, and return the run.

        Args:
            experiment: an experiment's YAML file.
            overrides: values by dotted field: {"evaluation.samples": 0}.
            name: of the run; by default the experiment's name and a digest of its fields.
            workers: processes side by side.
            executor: "local" or "ray".
            fields: values of fields without a dot: seed=1.

        Raises:
            UserError: a bad experiment; or a step that failed, with its reason. What was finished is in the store.
            KeyboardInterrupt: the cell was interrupted; the same call goes on where it stopped.
        """
        from w2s_core.preflight import check_graphs
        from w2s_core.runs import Machine, run_experiment

        graph = self._graph(experiment, overrides, fields)
        name = name or graph.experiment.run_name
        machine = Machine(workers=workers, executor=executor)
        check_graphs([graph], self.store, apart=machine.apart)
        outcome = run_experiment(
            graph,
            self.store,
            machine,
            name=name,
            command=["w2s", "run", str(experiment), *_written(overrides, fields), "--name", name],
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.failed:
            raise UserError(f"run {name}: {next(iter(outcome.failed.values()))}")
        return Run(self, name)

    def tables(self, *runs: str, study: str | None = None) -> "dict[str, pd.DataFrame]":
        """The tables of a report, over some runs, those of a study, or all, by the names of their CSV files.

        Raises:
            UserError: as `w2s tables`.
        """
        from w2s_analysis.report import report_of

        chosen = self._study(runs, study)
        report = report_of(chosen)
        parts = report.parts if len(chosen.runs) > 1 else report.one_run
        by_name: dict[str, list[Table]] = {}
        for part in parts:
            for table in part.tables(chosen):
                by_name.setdefault(table.name or part.name, []).append(table)
        return {name: frame_of(*tables) for name, tables in by_name.items()}

    def figure(self, part: str, *runs: str, study: str | None = None) -> "Figure":
        """The figure of one part of a report (`levels`, `cost`, ...), over some runs, those of a study, or all.

        Raises:
            UserError: a part that does not exist, or has nothing to draw.
        """
        from w2s_analysis.report import report_of

        chosen = self._study(runs, study)
        parts = {known.name: known for known in report_of(chosen).parts}
        if part not in parts:
            raise UserError(f"no part of the report is named '{part}': there are {', '.join(parts)}")
        figure = parts[part].figure(chosen)
        if figure is None:
            raise UserError(f"part {part} has no figure of these runs")
        return figure

    def compare(
        self,
        run_a: str,
        run_b: str,
        target: str | None = None,
        against: str | None = None,
        *,
        common: bool = False,
    ) -> "Comparison":
        """Compare two runs question by question: B minus A.

        Args:
            target: one result, such as `ceiling`; by default every greedy result that both have.
            against: B's result where it is another.
            common: leave out questions that only one side was graded on.

        Raises:
            UserError: as `w2s compare`.
        """
        import pandas as pd

        from w2s_analysis.parts.compare import compare_results, find_compared, overview

        runs = self[run_a].name, self[run_b].name
        results = find_compared(self.store, *runs, target, against)
        pairs = compare_results(self.store, results, runs, common=common)
        same = [result.name for result in results if result.same]
        frame = frame_of(overview(pairs, runs, same))
        for column in frame.columns.drop("result"):  # words stand where there is nothing to test
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
        frame["one_result"] = frame["result"].isin(same)
        return Comparison(frame, {name: pair.questions for name, pair in pairs.items()})

    def _study(self, runs: Sequence[str], study: str | None) -> "Study":
        from w2s_analysis.reading.study import make_study, open_frames

        return make_study(open_frames(self.store, [self[name].name for name in runs], study))

    def _graph(self, experiment: str | Path, overrides: Fields | None, fields: Fields) -> "Graph":
        from w2s_core.experiment import load_experiment
        from w2s_core.runs import build_graph

        return build_graph(load_experiment(Path(experiment), tuple(_written(overrides, fields))))


def _written(overrides: Fields | None, fields: Fields) -> list[str]:
    """Overrides as the command line takes them."""
    return [f"{name}={json.dumps(value)}" for name, value in {**(overrides or {}), **fields}.items()]


@dataclass(frozen=True)
class Run:
    """A run in a lab's store."""

    lab: Lab
    name: str

    @cached_property
    def record(self) -> dict[str, Any]:
        """What was recorded of it: experiment, seed, command, targets by label, ..."""
        from w2s_core.recipes.record import read_record

        return read_record(self.lab.store.refs, self.name)

    @property
    def targets(self) -> dict[str, str]:
        """The keys of its results by label."""
        return dict(self.record["targets"])

    def folder(self, step: str) -> Path:
        """The folder of a result, by its step's label as `plan` and `show` list it, with its bytes checked.

        Raises:
            UserError: a label that the run does not have, or a result that is not computed.
        """
        from w2s_core.step_labels import closest

        keys = {**self.record["steps"], **self.targets}
        if step not in keys:
            near = ", ".join(closest(list(keys), step))
            raise UserError(f"run {self.name} has no step '{step}'; like it: {near}")
        if not self.lab.store.has(keys[step]):
            raise UserError(f"{step} of run {self.name} is not computed")
        return self.lab.store.path(keys[step])

    def accuracy(self) -> "pd.DataFrame":
        """A row a graded target: target, kind, split, model, role, accuracy, questions, and responses by verdict."""
        import pandas as pd

        from w2s_core.cli.run_list import right_share
        from w2s_core.recipes.record import outline

        rows = []
        for entry in outline(self.record):
            manifest = self.lab.store.peek(self.targets[entry.label])
            share = right_share(manifest)
            if manifest and share is not None:
                graded = {
                    "target": entry.label,
                    "kind": entry.kind,
                    "split": entry.split,
                    "model": entry.title,
                }
                rows.append({**graded, "role": entry.role, "accuracy": share, **manifest["summary"]})
        return pd.DataFrame(rows)

    def read(self, step: str) -> "pd.DataFrame":
        """The rows of a result as they are stored: questions, responses, pairs, grades.

        Raises:
            UserError: as `folder`; or a result that is no table, such as an adapter.
        """
        import pandas as pd

        files = sorted(self.folder(step).glob("*.parquet"))
        if len(files) != 1:
            raise UserError(f"{step} of run {self.name} is no table: its files lie in {self.folder(step)}")
        return pd.read_parquet(files[0])

    def responses(self, name: str) -> "pd.DataFrame":
        """A row a response: id, question, draw, response, answer (as extracted), gold, verdict, level.

        Args:
            name: a judged model (its greedy responses), a graded target, or the label of a step that samples.

        Raises:
            UserError: a name that the run does not have, or a result that is not computed or holds no responses.
        """
        import pandas as pd

        from w2s_analysis.parts.answers import response_rows

        return pd.DataFrame(response_rows(self.lab.store, self.name, name))

    def export_adapter(self, model: str, out: str | Path, *, merge: bool = False) -> None:
        """Write a trained model and its model card into a new folder, as one LoRA adapter that PEFT and vLLM load.

        Args:
            model: the name of a judged model, or the label of a training.
            merge: the whole base model with the adapters merged, instead.

        Raises:
            UserError: as `w2s export-adapter`.
        """
        from w2s_core.cli.export import export_model

        export_model(self.lab.store, self.name, model, Path(out), merge=merge)


@dataclass(frozen=True)
class Comparison:
    """Two runs, question by question.

    Attributes:
        overview: a row a result: shares, difference B - A with its interval, p, questions that changed sides; nan where
            both sides are one stored result (`one_result`), which leaves nothing to test.
        questions: by result, a row a question: id, level, template, a, b (scores).
    """

    overview: "pd.DataFrame"
    questions: "dict[str, pd.DataFrame]"


def frame_of(*tables: "Table") -> "pd.DataFrame":
    """Tables of a report with their numbers in full: an interval has columns `x low` and `x high`."""
    import io

    import pandas as pd

    from w2s_analysis.writing.table import to_csv

    return pd.read_csv(io.StringIO(to_csv(*tables)))
