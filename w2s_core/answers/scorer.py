"""The scorers of reasoning-gym's data sets: foreign code, for answers that may be anything. Runs in a `child` alone.

An entry is the JSON of a data set's name, its configuration and one item. An answer is right where the data set's own
scorer gives it full marks; one at which the scorer raises is wrong, since many scorers raise on what they cannot read.
Some evaluate what they are given (`eval`, sympy's parser). So the process refuses to write files, to start programs
and to open connections; that keeps accidents in, and is no sandbox.
"""

import json
import os
import random
import sys
from functools import lru_cache
from typing import Any

_BARRED = (
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill", "os.remove", "os.rename",
    "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.putenv", "shutil.",
    "subprocess.", "socket.", "ctypes.", "signal.",
)  # fmt: skip


def load() -> None:
    """Import the package, and bar what no scorer needs."""
    sys.dont_write_bytecode = True
    import reasoning_gym  # noqa: F401 - before the barrier: its own imports may open libraries

    sys.addaudithook(_bar)


def prepare(entry: str) -> None:
    """Make the entry's data set, which may take a while and says nothing about the answer."""
    fields = json.loads(entry)
    _dataset(fields["dataset"], json.dumps(fields["config"], sort_keys=True))


def is_right(answer: str, entry: str) -> bool:
    """Whether the scorer of the entry's data set gives the answer full marks."""
    fields = json.loads(entry)
    dataset = _dataset(fields["dataset"], json.dumps(fields["config"], sort_keys=True))
    random.seed(0)  # a scorer that draws by itself decides the same each time
    try:
        return float(dataset.score_answer(answer, fields["item"])) >= 1.0
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - of a hundred scorers
        return False


@lru_cache(maxsize=8)
def _dataset(name: str, config: str) -> Any:
    return make_dataset(name, json.loads(config), seed=0, size=1)


def make_dataset(name: str, config: dict[str, Any], seed: int, size: int) -> Any:
    """A data set of the package; members of a composite one are given as name, weight and config."""
    import reasoning_gym
    from reasoning_gym.composite import DatasetSpec

    if name == "composite":
        members = [DatasetSpec(**{"config": {}} | member) for member in config["datasets"]]
        config = config | {"datasets": members}
    return reasoning_gym.create_dataset(name, **config | {"seed": seed, "size": size})


def _bar(event: str, values: tuple[Any, ...]) -> None:
    writes = event == "open" and _writes(values[1], values[2])
    if writes or event.startswith(_BARRED):
        raise PermissionError(f"{event}: not for a scorer")


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(sign in mode for sign in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
