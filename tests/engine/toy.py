"""Small steps for the engine's tests. They stand in a module of their own so that worker processes can import them."""

import errno
import mmap
import os
import re
import resource
import signal
import time
from pathlib import Path
from typing import Any

from w2s_core.engine import Context, extending, step
from w2s_core.errors import StopBranch, UserError


def note(ctx: Context, name: str) -> None:
    """Append a line to the log of executions, which tells how often a step really ran."""
    if log := ctx.runtime.get("log"):
        with Path(log).open("a") as file:
            file.write(f"{name} {os.getpid()}\n")


def executions(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def value(folder: Path) -> int:
    return int((folder / "value.txt").read_text())


def put(ctx: Context, number: int) -> dict[str, Any]:
    (ctx.out / "value.txt").write_text(str(number))
    return {"value": number}


@step(version=1)
def number(ctx: Context, *, n: int, plus: int = 0) -> dict[str, Any]:
    note(ctx, f"number{n}")
    return put(ctx, n + plus)


@step(version=1, code=("w2s_core.rows",), libraries=("pyarrow",), unkeyed=("speed",))
def total(
    ctx: Context,
    *,
    parts: list[Path],
    scale: float = 1.0,
    seed: int = 0,
    speed: int = 1,
    extra: Path | None = None,
) -> dict[str, Any]:
    note(ctx, "total")
    return put(ctx, int(sum(value(part) for part in parts) * scale) + (value(extra) if extra else 0))


@step(version=1)
def slow(
    ctx: Context, *, of: Path | None = None, seconds: float = 0.3, name: str = "slow", naps: int = 10
) -> dict[str, Any]:
    note(ctx, name)
    for i in range(naps):
        ctx.progress(i, naps, "naps", "resting")
        time.sleep(seconds / naps)
    ctx.progress(naps, naps, "naps")
    return put(ctx, value(of) if of else 7)


@step(version=1)
def resuming(ctx: Context, *, crash: bool = True) -> dict[str, Any]:
    """Leaves a checkpoint and dies at the first try; goes on from it at the second."""
    note(ctx, "resuming")
    checkpoint = ctx.work / "checkpoint.txt"
    if not checkpoint.exists():
        checkpoint.write_text("41")
        if crash:
            os.kill(os.getpid(), signal.SIGKILL)
    return put(ctx, int(checkpoint.read_text()) + 1)


def _to(params: dict[str, Any]) -> tuple[dict[str, Any], float]:
    return {name: value for name, value in params.items() if name != "to"}, params["to"]


@step(version=1)
def counted(ctx: Context, *, of: Path, to: int, fails: bool = False, seed: int = 0) -> dict[str, Any]:
    """Counts from the furthest that a kept file says, and keeps where it ended."""
    start = max((int(path.read_text()) for path in ctx.kept("counts").parent.glob("*/count")), default=0)
    note(ctx, f"counted{start}-{to}")
    if fails:
        raise UserError("it fails")
    kept = ctx.kept("counts")
    kept.mkdir(parents=True)
    (kept / "count").write_text(str(to))
    ctx.warn(f"from {start}")
    return put(ctx, to)


counted.loads, counted.order = "of", _to


@step(version=1)
def deadly(ctx: Context) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@step(version=1)
def empty(ctx: Context, *, of: Path) -> dict[str, Any]:
    raise StopBranch("nothing was left of 12 questions")


@step(version=1)
def misused(ctx: Context) -> dict[str, Any]:
    raise UserError("the folder models/x has no tokenizer")


@step(version=1)
def without_space(ctx: Context, *, of: Path) -> dict[str, Any]:
    raise OSError(errno.ENOSPC, "No space left on device")


@step(version=1)
def broken(ctx: Context, *, of: Path) -> dict[str, Any]:
    raise ZeroDivisionError("by design\nsecond line")


@step(version=1)
def writes(ctx: Context, *, name: str, text: str = "x", size: int = 1) -> dict[str, Any]:
    """Writes one file of a given name and size (bytes) into its result."""
    path = ctx.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text * size)
    return {}


@step(version=1)
def summarises(ctx: Context, *, kind: str) -> Any:
    return {"nan": {"loss": float("nan")}, "path": {"where": ctx.out}, "fine": {"a": (1, 2)}}[kind]


@step(version=1, gpu=True)
def trains(ctx: Context, *, n: int, seconds: float = 0.5) -> dict[str, Any]:
    """Uses a GPU where there is one; its result says nothing of it, the log does."""
    start = time.time()
    time.sleep(seconds)
    if log := ctx.runtime.get("spans"):
        with Path(log).open("a") as file:
            file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')} {start} {time.time()}\n")
    return put(ctx, n)


@step(version=1, cpus=2)
def broad(ctx: Context, *, n: int) -> dict[str, Any]:
    """Uses two CPUs."""
    return put(ctx, n)


@step(version=1)
def holds(ctx: Context, *, fills: bool, depth: int) -> dict[str, Any]:
    """Holds the interpreter for long, so that no other thread gets its turn; `fills`: with no address space left."""
    note(ctx, "holds")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    kept = mmap.mmap(-1, limit - used - 20_000_000) if fills else None
    re.match("(a+)+$", "a" * depth + "b")
    return put(ctx, kept is None)


@step(version=1)
def deaf(ctx: Context, *, signal_number: int) -> dict[str, Any]:
    """Swallows an interrupt, as some libraries do while they are imported."""
    note(ctx, "deaf")
    try:
        os.kill(os.getpid(), signal_number)
        time.sleep(5)
    except BaseException:  # noqa: BLE001 - just that
        return put(ctx, 1)
    return put(ctx, 0)


@step(version=1, gpu=True)
def floats(ctx: Context, *, of: Path) -> dict[str, Any]:
    """Computes in floating point, which another machine rounds otherwise."""
    note(ctx, "floats")
    return put(ctx, value(of))


@extending("n", "plus")
@step(version=1)
def draws(
    ctx: Context, *, of: Path, n: int = 1, plus: Path | None = None, seconds: float = 0.0
) -> dict[str, Any]:
    """The numbers from 0 to n, of which earlier results may hold the first."""
    lines: list[str] = []
    for earlier in ctx.earlier:
        held = (earlier.folder / "value.txt").read_text().split()[:n]
        if len(held) > len(lines):
            ctx.taken[earlier.key] = ((len(held) - len(lines)) / n, f"from {len(held)} to {n}")
            lines = held
    for number in range(len(lines), n):
        note(ctx, f"draw{number}")
        time.sleep(seconds)
        lines.append(str(number * value(of)))
    (ctx.out / "value.txt").write_text(" ".join(lines))
    return {"n": n}
