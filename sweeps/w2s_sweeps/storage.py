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
    from sqlalchemy.engine import Engine

COPY_SUFFIX = " (copy in progress)"
CREATION_RACES = 3
"""How often to try again when another process creates the tables of a new database at the same moment."""
LOCKED_S = 60
"""Seconds to wait for an SQLite database that another program writes."""
RESTART_S = 60.0
"""Seconds to wait for a server that answered before, and takes no connection: it may be restarted."""
REBUILD = "`w2s sweep STUDY.yaml --rebuild` makes an SQLite database anew from the store, and moves the old one aside"
IN_MEMORY = "sqlite://"
"""A database that is gone with the process."""


def default_url(root: Path) -> str:
    """The database beside the results."""
    return f"sqlite:///{root.absolute() / 'studies.db'}"


def _reason(error: BaseException) -> str:
    """Why a database cannot be used, in a line, and what would mend it."""
    import sqlite3

    cause = getattr(error, "orig", None) or error
    reason = redact_text((str(cause).strip().splitlines() or [type(cause).__name__])[0]).rstrip(". ")
    if "locked" in reason:
        return f"{reason}: another program holds it for more than {LOCKED_S} s; end that one"
    # No file of a database, or one whose tables are not those of this Optuna.
    damaged = type(cause) is sqlite3.DatabaseError or "no such" in reason
    other_version = isinstance(error, RuntimeError) and "schema" in reason
    return f"{reason}; {REBUILD}" if damaged or other_version else reason


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for any other, or a URL that is none."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    name = parsed.database if parsed.drivername.startswith("sqlite") else None
    is_file = name and name != ":memory:" and not name.startswith("file:")  # a URI has its own rules
    return Path(name).absolute() if name and is_file else None


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
    waits = {"timeout": LOCKED_S} if parsed.drivername == "sqlite" else {"connect_timeout": 10}
    for attempt in range(CREATION_RACES + 1):
        try:
            storage = optuna.storages.RDBStorage(
                parsed.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": waits, "pool_pre_ping": True},
            )
            if not parsed.drivername.startswith("sqlite"):
                outlast_restarts(storage.engine)
            return storage
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
            raise UserError(f"storage {shown} cannot be reached: {_reason(error)}") from None
    raise AssertionError("the loop above returns or raises")


def outlast_restarts(engine: "Engine") -> None:
    """From now on, try to connect again and again for RESTART_S."""
    from sqlalchemy import event

    def connect(dialect: Any, _: object, arguments: Any, options: Any) -> Any:
        end, pause = time.monotonic() + RESTART_S, 0.1
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    event.listen(engine, "do_connect", connect)


@contextmanager
def still_answers(url: str) -> Iterator[None]:
    """Inside, a database that stops answering is a UserError: what is computed lies in the store, safe."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        raise UserError(
            f"storage {redact_text(url)} stopped answering: {_reason(cause)}. "
            "What is computed is kept; the same command goes on"
        ) from None


def has_study(url: str, name: str) -> bool:
    """Whether the database has that study. Creates no database."""
    file = database_file(url)
    return (file is None or file.exists()) and name in known_studies(url)


def known_studies(url: str) -> list[str]:
    """The names of the studies in a database, in order."""
    import optuna

    with still_answers(url):
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
