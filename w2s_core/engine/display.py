"""What a run looks like: live bars on a terminal, a line an event anywhere else."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from w2s_core.engine.planning import Planned
from w2s_core.engine.run import Display
from w2s_core.engine.walk import NEEDS, Event, Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PLAIN_PROGRESS_EVERY_S = 30.0
Clock = Callable[[], float]  # seconds


def make_display(
    stream: TextIO | None = None,
    labels: Mapping[str, str] | None = None,
    watch: Callable[[Event], None] | None = None,
) -> Display:
    """Live bars if `stream` (standard error by default) is a terminal, else plain lines.

    `labels` names steps by key; others are shown as `Handle.label`. `watch` gets each event after it is shown.
    """
    target = stream or sys.stderr
    if not target.isatty():
        display: Display = PlainDisplay(target, labels)
    else:
        from rich.console import Console

        display = RichDisplay(Console(file=target), labels)
    return Watched(display, watch) if watch else display


class Watched:
    """A display whose events another function sees too."""

    def __init__(self, display: Display, watch: Callable[[Event], None]) -> None:
        self.begin, self.end = display.begin, display.end
        self._display, self._watch = display, watch

    def event(self, event: Event) -> None:
        """Show an event, then hand it on."""
        self._display.event(event)
        self._watch(event)


class Tally:
    """The state of a run, from its plan and events: what is done, running, stopped, and the seconds left."""

    def __init__(self, planned: list[Planned], workers: int, clock: Clock, labels: Mapping[str, str]) -> None:
        self._clock = clock
        self._workers = workers
        self.labels = {step.handle.key: step.handle.label for step in planned} | dict(labels)
        self.cached = sum(step.state == "cached" for step in planned)
        self.open = {step.handle.key: step.expected_s for step in planned if step.state == "missing"}
        self.total = self.cached + len(self.open)
        self.done = 0
        self.prefix = ""
        self.ended: Counter[str] = Counter()
        self.running: dict[str, float] = {}
        self.progress: dict[str, Event] = {}
        self._first: dict[str, tuple[float, float]] = {}

    def take(self, event: Event) -> None:
        """Update the state by an event."""
        kind, key = event["event"], event.get("key", "")
        if kind == "started":
            self.running[key] = self._clock()
        elif kind == "progress":
            self._advance(key, event)
        elif kind == "waiting" and event.get("progress"):
            self._advance(key, event["progress"])
        elif kind in ("finished", "found") and self._close(key):
            self.done += 1
        elif kind in ("failed", "stopped") and self._close(key):
            self.ended[kind] += 1
        elif kind == "worker died":
            self._halt(key)
        elif kind == "capacity":
            self._workers = event["workers"]
        elif kind == "note":
            self.prefix = event["headline"]
        elif kind == "corrupt" and key in self.labels and key not in self.open:
            self.open[key] = None
            self.total = max(self.total, self.cached + self.done + len(self.open))

    def _advance(self, key: str, record: Event) -> None:
        self.progress[key] = record
        self._first.setdefault(key, (record["done"], self._clock()))

    def _halt(self, key: str) -> None:
        """Nobody runs the step any more; who takes it over reports from where it goes on."""
        for kept in (self.running, self.progress, self._first):
            kept.pop(key, None)

    def _close(self, key: str) -> bool:
        self._halt(key)
        known = key in self.open
        self.open.pop(key, None)
        return known

    def speed(self, key: str) -> float | None:
        """Units a second since a running step's first report, which tells what it took up from an earlier run."""
        if key not in self.progress:
            return None
        done, since = self._first[key]
        advanced, elapsed = self.progress[key]["done"] - done, self._clock() - since
        return advanced / elapsed if advanced > 0 and elapsed > 0 else None

    def _left(self, key: str) -> float | None:
        """Seconds to the end of an open step: by its own speed, else by what earlier ones took."""
        record, speed, expected = self.progress.get(key, {}), self.speed(key), self.open[key]
        if record.get("total") and speed:
            return max(0.0, (record["total"] - record["done"]) / speed)
        if expected is None:
            return None
        return max(0.0, expected - (self._clock() - self.running.get(key, self._clock())))

    def seconds_left(self) -> tuple[float, int]:
        """Expected seconds to the end of the open steps that can be told, over the workers, and how many cannot."""
        each = [self._left(key) for key in self.open]
        known = [seconds for seconds in each if seconds is not None]
        return max(sum(known) / self._workers, max(known, default=0.0)), len(each) - len(known)

    def headline(self) -> str:
        """`12/40 stages · 10 cached · 2 running · 1 stopped · 3:10 left + 4 not timed yet`."""
        parts = [self.prefix] * bool(self.prefix)
        parts += [f"{self.cached + self.done}/{self.total} stages", f"{self.cached} cached"]
        parts += [f"{len(self.running)} running"] * bool(self.running)
        parts += [f"{count} {kind}" for kind, count in sorted(self.ended.items())]
        left, untimed = self.seconds_left()
        if untimed < len(self.open):
            parts.append(f"{duration(left)} left" + f" + {untimed} not timed yet" * bool(untimed))
        return " · ".join(parts)

    def rate(self, key: str) -> str:
        """How far a running step is and how fast: `120/1000 questions, 35.1/s, loss 0.3`."""
        record = self.progress.get(key)
        if record is None:
            return ""
        total = f"/{record['total']:g}" if record.get("total") else ""
        words = [f"{record['done']:g}{total} {record.get('unit') or ''}".strip()]
        speed = self.speed(key)
        words += [f"{speed:.3g}/s"] if speed else []
        words += [record["note"]] * bool(record.get("note"))
        return ", ".join(words)


class PlainDisplay:
    """A line an event, for logs and pipes; a running step's progress now and then."""

    def __init__(
        self, stream: TextIO, labels: Mapping[str, str] | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._stream, self._clock, self._labels = stream, clock, labels or {}
        self._last: dict[str, float] = {}
        self._waiting: set[tuple[str, Any]] = set()
        self._tally = Tally([], 1, clock, {})

    def begin(self, planned: list[Planned], workers: int) -> None:
        """Say what there is to do."""
        self._tally = Tally(planned, workers, self._clock, self._labels)
        self._say(self._tally.headline())

    def event(self, event: Event) -> None:
        """Say what happened, if it is worth a line."""
        self._tally.take(event)
        line = describe(event, self._tally)
        if event["event"] == "progress":
            line = self._now_and_then(event)
        elif event["event"] == "waiting":
            line = self._first_time(event, line)
        if line:
            self._say(line)

    def end(self, outcome: Outcome) -> None:
        """Say how it ended."""
        self._say(closing(outcome))

    def _now_and_then(self, event: Event) -> str | None:
        key, now = event["key"], self._clock()
        if now - self._last.setdefault(key, now) < PLAIN_PROGRESS_EVERY_S:
            return None
        self._last[key] = now
        return f"{self._tally.labels.get(key, key)}: {self._tally.rate(key)}"

    def _first_time(self, event: Event, line: str | None) -> str | None:
        wait = (event["key"], event.get("pid"))
        if wait in self._waiting:
            return None
        self._waiting.add(wait)
        return line

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class RichDisplay:
    """Live bars: one for the run, one a running step; what goes wrong is printed above them."""

    def __init__(
        self, console: "Console", labels: Mapping[str, str] | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._console, self._clock, self._labels = console, clock, labels or {}
        self._tally = Tally([], 1, clock, {})
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None

    def begin(self, planned: list[Planned], workers: int) -> None:
        """Start the bars."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._tally = Tally(planned, workers, self._clock, self._labels)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24))
        state = TextColumn("{task.fields[state]}", markup=False)
        self._progress = Progress(*columns, state, TimeElapsedColumn(), console=self._console, transient=True)
        self._bars = {
            "": self._progress.add_task("run", total=self._tally.total, state=self._tally.headline())
        }
        self._progress.start()

    def event(self, event: Event) -> None:
        """Move the bars; print what goes wrong."""
        self._tally.take(event)
        if self._progress is None:
            return
        key, kind = event.get("key", ""), event["event"]
        line = describe(event, self._tally)
        if line and kind in ("failed", "stopped", "corrupt", "worker died", "interrupted", "note", "warning"):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if kind in ("started", "progress", "waiting"):
            self._move(key, "waiting: " if kind == "waiting" else "")
        elif key and key in self._bars:
            self._progress.remove_task(self._bars.pop(key))
        done = self._tally.cached + self._tally.done
        self._progress.update(
            self._bars[""], completed=done, total=self._tally.total, state=self._tally.headline()
        )

    def end(self, outcome: Outcome) -> None:
        """Take the bars away and say how it ended."""
        if self._progress is not None:
            self._progress.stop()
        self._console.print(closing(outcome), markup=False, highlight=False, soft_wrap=True)

    def _move(self, key: str, prefix: str) -> None:
        assert self._progress is not None
        if key not in self._bars:
            label = prefix + self._tally.labels.get(key, key[:12])
            self._bars[key] = self._progress.add_task(label, total=None, state="")
        record = self._tally.progress.get(key, {})
        self._progress.update(
            self._bars[key],
            completed=record.get("done", 0),
            total=record.get("total"),
            state=self._tally.rate(key),
        )


def describe(event: Event, tally: Tally) -> str | None:
    """An event as one line; None for those that need none."""
    kind, key = event["event"], event.get("key") or ""
    label = tally.labels.get(key, key[:12])
    if kind == "started":
        return f"{label}: started"
    if kind == "finished" and (same := event.get("same_as")):
        return f"{label}: same content as {same[:12]} ({tally.headline()})"
    if kind == "finished":
        return f"{label}: done in {duration(event['seconds'])} ({tally.headline()})"
    if kind == "found":
        return f"{label}: computed by another process ({tally.headline()})"
    if kind == "waiting":
        return f"{label}: waiting for pid {event.get('pid')} on host {event.get('host')}"
    if kind == "stopped" and event["reason"].startswith(NEEDS):
        return None  # one step's failure can stop dozens: they are counted at the end
    if kind in ("failed", "stopped"):
        return f"{label}: {kind}: {event['reason']}"
    if kind == "corrupt":
        moved = f"; moved to {event['moved_to']}" if event.get("moved_to") else ""
        remedy = "making it anew" if key in tally.labels else "computing what it stood for"
        return f"warning: {label} was damaged ({event['problem']}){moved}; {remedy}"
    if kind == "worker died":
        place = label or "no step"
        worker = f"worker {event['pid']}" if event.get("pid") else "a worker"
        return f"warning: {worker} died ({event['manner']}) in {place}; another takes over"
    return event.get("message")


def closing(outcome: Outcome) -> str:
    """The last line: `done: 12 computed, 28 cached`; with the first reason where steps ended without a result."""
    counts = [f"{len(outcome.done)} computed", f"{len(outcome.cached)} cached"]
    counts += [f"{len(outcome.failed)} failed"] * bool(outcome.failed)
    counts += [f"{len(outcome.stopped)} stopped"] * bool(outcome.stopped)
    state = "done" if outcome.complete else "interrupted" if outcome.interrupted else "incomplete"
    reasons = list(dict.fromkeys(outcome.reasons.values()))
    more = f" (other reasons, above: {len(reasons) - 1})" if len(reasons) > 1 else ""
    return f"{state}: {', '.join(counts)}" + (f": {reasons[0]}{more}" if reasons else "")


def duration(seconds: float) -> str:
    """`0.4 s`, `1:05`, `2:00:07`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
