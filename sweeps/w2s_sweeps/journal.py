"""What an SQLite database of Optuna's holds of a study, noted in the store too: a lost database is made anew from it.

A line of `studies/NAME.DIGEST.jsonl` holds the attributes of the study and the trials whose state changed, as Optuna
has them but for their ids: open and failed trials, and a place in a sequence of samples, cannot be told from results.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.engine import Store, disk
from w2s_core.engine.canonical import digest
from w2s_core.engine.session import is_live
from w2s_core.errors import UserError
from w2s_sweeps.storage import REBUILD, database_file, has_study, open_storage

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TIMES = ("datetime_start", "datetime_complete")
ATTRIBUTES = ("user_attrs", "system_attrs")


class Journal:
    """The notes on one study. `study` and `trials` (by number) are as they were noted last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.study: dict[str, Any] = {}
        self.trials: dict[int, dict[str, Any]] = {}
        for line in disk.json_lines(path):
            if isinstance(line, dict) and {"study", "trials"} <= line.keys():
                self.study = line["study"] or self.study
                self.trials |= {trial["number"]: trial for trial in line["trials"]}

    def note(self, study: "optuna.Study", *, anew: bool = False) -> None:
        """Append the trials whose state is another than noted (`anew`: all), and the study's attributes if they are."""
        trials = study.get_trials(deepcopy=False)
        numbers = {trial._trial_id: trial.number for trial in trials}
        noted = {} if anew else self.trials
        changed = [
            _fields(trial) for trial in trials if noted.get(trial.number, {}).get("state") != trial.state.name
        ]
        attributes = _attributes(study, numbers)
        if changed or attributes != self.study:
            self._path.parent.mkdir(exist_ok=True)
            disk.append_line(self._path, {"study": attributes, "trials": changed})
            self.study = attributes
            self.trials |= {fields["number"]: fields for fields in changed}

    def restore(self, storage: "optuna.storages.BaseStorage") -> int:
        """Make the study in a storage that does not have it. Returns how many trials it has."""
        import optuna

        study = optuna.create_study(
            storage=storage, study_name=self.study["name"], directions=self.study["directions"]
        )
        axes = _categories(self.trials.values())
        for number in range(len(self.trials)):
            if number not in self.trials:  # a torn line: what follows has its number from those before it
                break
            study.add_trial(_trial(self.trials[number], axes))
        ids = {trial.number: trial._trial_id for trial in study.get_trials(deepcopy=False)}
        for name, value in self.study["system_attrs"].items():
            kept = [ids[number] for number in value["numbers"]] if isinstance(value, dict) else value
            storage.set_study_system_attr(study._study_id, name, kept)
        for name, value in self.study["user_attrs"].items():
            study.set_user_attr(name, value)
        return len(ids)


def journal_of(url: str, name: str, store: Store) -> Journal | None:
    """The journal of a study in the database at a URL; None where that is no file."""
    file = database_file(url)
    return None if file is None else Journal(store.root / "studies" / f"{name}{_ending(file, store)}")


def refuse_lost(url: str, name: str, store: Store) -> None:
    """Raise UserError where a study was noted in the store, and its database does not have it any more."""
    journal = journal_of(url, name, store)
    if journal is not None and journal.trials and not has_study(url, name):
        raise UserError(
            f"study '{name}' is lost: {len(journal.trials)} of its trials are noted in {store.root}, and "
            f"{database_file(url)} does not have them; {REBUILD}"
        )


def rebuild(url: str, store: Store) -> str:
    """Make the SQLite database at a URL anew, with all its studies that are noted in the store.

    What is in its place is moved aside, once the new one is whole. Returns a line about what was done.

    Raises:
        UserError: it is no file, or something runs on the store.
    """
    import optuna

    file = database_file(url)
    if file is None:
        raise UserError(
            "--rebuild makes an SQLite database anew: restore another one from its server's backup"
        )
    if any(map(is_live, (store.root / "sessions").iterdir())):
        raise UserError(f"something runs on {store.root}: --rebuild waits for nothing, end it first")
    journals = map(Journal, sorted((store.root / "studies").glob(f"*{_ending(file, store)}")))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)  # of a rebuild that was interrupted
    storage = open_storage(f"sqlite:///{fresh}")
    counts = {journal.study["name"]: journal.restore(storage) for journal in journals if journal.study}
    storage.engine.dispose()
    aside = _set_aside(file) if file.exists() else None
    fresh.replace(file)
    studies = ", ".join(f"{name} ({count} trials)" for name, count in counts.items())
    return (
        f"{file} is made anew: {studies or 'no study was noted in the store, results are read from it again'}"
        + (f"; what was there lies in {aside}" if aside else "")
    )


def _ending(file: Path, store: Store) -> str:
    """The end of the names of a database's journals. A store that is moved takes a database inside along."""
    root = store.root.absolute()
    place = file.relative_to(root) if file.is_relative_to(root) else file
    return f".{digest(str(place))[:8]}.jsonl"


def _set_aside(file: Path) -> Path:
    aside = disk.set_aside(file, file.parent)
    for ending in ("-journal", "-wal", "-shm"):  # parts of the database that SQLite finds by its name
        if (part := file.with_name(file.name + ending)).exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside


def _attributes(study: "optuna.Study", numbers: Mapping[int, int]) -> dict[str, Any]:
    """The study without its trials. Where a sampler keeps a list of trials' ids, it holds their numbers."""
    system = study._storage.get_study_system_attrs(study._study_id)
    return {
        "name": study.study_name,
        "directions": [direction.name.lower() for direction in study.directions],
        "user_attrs": study.user_attrs,
        "system_attrs": {
            name: {"numbers": [numbers[i] for i in value]}
            if isinstance(value, list) and all(i in numbers for i in value)
            else value
            for name, value in system.items()
        },
    }


def _fields(trial: "FrozenTrial") -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    return {
        "number": trial.number,
        "state": trial.state.name,
        "params": trial.params,
        "distributions": {name: distribution_to_json(axis) for name, axis in trial.distributions.items()},
        "values": trial.values,
        "intermediate_values": trial.intermediate_values,
        **{name: getattr(trial, name) for name in ATTRIBUTES},
        **{name: (moment := getattr(trial, name)) and moment.isoformat() for name in TIMES},
    }


def _categories(trials: Iterable[Mapping[str, Any]]) -> "dict[str, BaseDistribution]":
    """The widest choices of each categorical axis: Optuna wants the same ones in all trials of a study."""
    from optuna.distributions import CategoricalDistribution, json_to_distribution

    widest: dict[str, BaseDistribution] = {}
    for name, text in {item for trial in trials for item in trial["distributions"].items()}:
        axis = json_to_distribution(text)
        if isinstance(axis, CategoricalDistribution):
            known = widest.get(name)
            if not isinstance(known, CategoricalDistribution) or len(known.choices) < len(axis.choices):
                widest[name] = axis
    return widest


def _trial(fields: Mapping[str, Any], categories: "Mapping[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    trial = create_trial(
        state=TrialState[fields["state"]],
        values=fields["values"],
        params=fields["params"],
        distributions={
            name: categories.get(name) or json_to_distribution(text)
            for name, text in fields["distributions"].items()
        },
        intermediate_values={int(rung): value for rung, value in fields["intermediate_values"].items()},
        **{name: fields[name] for name in ATTRIBUTES},
    )
    for name in TIMES:
        setattr(trial, name, fields[name] and datetime.fromisoformat(fields[name]))
    return trial
