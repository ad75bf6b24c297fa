"""Optuna's databases: opened with errors that say what is wrong, and copied where a study's axes grow."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.engine.redaction import redact_text
from w2s_core.errors import UserError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

COPY_SUFFIX = " (copy in progress)"
CREATION_RACES = 3
"""How often to try again when another process creates the tables of a new database at the same moment."""
IN_MEMORY = "sqlite://"
"""A database that is gone with the process."""


def default_url(root: Path) -> str:
    """The database beside the results."""
    return f"sqlite:///{root.absolute() / 'studies.db'}"


def open_storage(url: str) -> "optuna.storages.RDBStorage":
    """The database at a URL (sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME).

    Raises:
        UserError: it is no URL, its driver is missing, or the database does not answer.
    """
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a ValueError for a port that is no number
        scheme, colon, _ = url.partition(":")  # what follows may be a password in the wrong place
        raise UserError(
            f"storage '{scheme}{colon and ':...'}' is no database URL; "
            "write sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from None
    shown = redact_text(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    waits = {"timeout": 60} if parsed.drivername == "sqlite" else {"connect_timeout": 10}
    for attempt in range(CREATION_RACES + 1):
        try:
            return optuna.storages.RDBStorage(
                parsed.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": waits, "pool_pre_ping": True},
            )
        except ImportError:
            supported = parsed.drivername.startswith("postgresql")
            advice = (
                "install it with: pip install 'w2s[postgres]'" if supported else "use sqlite or postgresql"
            )
            raise UserError(f"storage {shown}: its driver is missing; {advice}") from None
        except (SQLAlchemyError, RuntimeError) as error:
            if isinstance(error, IntegrityError | ProgrammingError) and attempt < CREATION_RACES:
                time.sleep(0.5)
                continue
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UserError(f"storage {shown} cannot be reached: {reason}") from None
    raise AssertionError("the loop above returns or raises")


@contextmanager
def still_answers(url: str) -> Iterator[None]:
    """Inside, a database that stops answering is a UserError: what is computed lies in the store, safe."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise UserError(
            f"storage {redact_text(url)} stopped answering: {reason}. "
            "What is computed is kept; the same command goes on"
        ) from None


def has_study(url: str, name: str) -> bool:
    """Whether the database has that study. Creates no database."""
    from sqlalchemy.engine import make_url

    file = make_url(url).database if url.startswith("sqlite:///") else None
    return (file is None or Path(file).exists()) and name in known_studies(url)


def known_studies(url: str) -> list[str]:
    """The names of the studies in a database, in order."""
    import optuna

    names = optuna.get_all_study_names(open_storage(url))
    return sorted(name for name in names if not name.endswith(COPY_SUFFIX))


def recreate(
    storage: "optuna.storages.RDBStorage", study: "optuna.Study", trials: "list[FrozenTrial]"
) -> None:
    """Put other trials in a study's place. A kill at any moment leaves the old study, or a whole copy of the new."""
    _copy(storage, study, study.study_name + COPY_SUFFIX, trials)
    finish_copy(storage, study.study_name)


def finish_copy(storage: "optuna.storages.RDBStorage", name: str) -> None:
    """Go on with a copy that was interrupted: a whole one takes the study's place, a part of one is thrown away."""
    import optuna

    if name + COPY_SUFFIX not in optuna.get_all_study_names(storage):
        return
    copy = optuna.load_study(study_name=name + COPY_SUFFIX, storage=storage)
    if copy.user_attrs.get("whole"):
        if name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        _copy(storage, copy, name, copy.get_trials(deepcopy=False))
    optuna.delete_study(study_name=name + COPY_SUFFIX, storage=storage)


def _copy(
    storage: "optuna.storages.RDBStorage", study: "optuna.Study", name: str, trials: "list[FrozenTrial]"
) -> None:
    import optuna

    copied = optuna.create_study(storage=storage, study_name=name, directions=study.directions)
    if study.metric_names:
        copied.set_metric_names(study.metric_names)
    copied.add_trials(trials)
    attrs: dict[str, Any] = {k: v for k, v in study.user_attrs.items() if k != "whole"}
    for key, value in attrs.items():
        copied.set_user_attr(key, value)
    if name.endswith(COPY_SUFFIX):
        copied.set_user_attr("whole", True)
