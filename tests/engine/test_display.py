"""What a run looks like, on a terminal and in a log."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.engine import toy
from tests.engine.toy import number, slow, total
from w2s_core.engine import DiskFullError, Handle, Outcome, Planned, Store, make_display, run_graph
from w2s_core.engine.display import PlainDisplay, RichDisplay, Tally, closing, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


A, B, C, D = (number(n=n) for n in range(4))
PLAN = [
    Planned(A, "cached", 5.0),
    Planned(B, "missing", 10.0),
    Planned(C, "missing", None),
    Planned(D, "not needed", 3.0),
]


def event(kind: str, handle: Handle, **more: Any) -> dict[str, Any]:
    return {"event": kind, "key": handle.key, **more}


def test_counts_and_time_left() -> None:
    clock = Clock()
    tally = Tally(PLAN, 1, clock, {})
    assert tally.headline() == "1/3 stages · 1 cached · 0:10 left + 1 not timed yet"
    tally.take(event("started", B))
    clock.now += 4
    assert tally.headline() == "1/3 stages · 1 cached · 1 running · 6.0 s left + 1 not timed yet"
    tally.take(event("finished", B, seconds=4.0))
    assert tally.headline() == "2/3 stages · 1 cached"
    tally.take(event("stopped", C, reason="nothing left"))
    assert tally.headline() == "2/3 stages · 1 cached · 1 stopped"


def test_time_left_with_workers_is_no_less_than_the_longest_step() -> None:
    planned = [Planned(one, "missing", seconds) for one, seconds in ((A, 10.0), (B, 10.0), (C, 40.0))]
    assert Tally(planned, 1, Clock(), {}).seconds_left() == (60.0, 0)
    assert Tally(planned, 2, Clock(), {}).seconds_left() == (40.0, 0)
    untimed = Tally([Planned(A, "missing", None)], 1, Clock(), {})
    assert untimed.seconds_left() == (0.0, 1)
    assert untimed.headline() == "0/1 stages · 0 cached"


def test_a_step_that_reports_tells_its_own_time_left_from_where_it_went_on() -> None:
    clock = Clock()
    tally = Tally([Planned(A, "missing", None), Planned(B, "missing", 5.0)], 1, clock, {})
    tally.take(event("started", A))
    clock.now += 30  # loading
    tally.take(event("progress", A, done=100, total=150, note=""))  # goes on from 99
    assert tally.rate(A.key) == "100/150"
    assert tally.seconds_left() == (5.0, 1)
    clock.now += 10
    tally.take(event("progress", A, done=120, total=150, note=""))
    assert tally.rate(A.key) == "120/150, 2/s"
    assert tally.seconds_left() == (15.0 + 5.0, 0)
    tally.take(event("worker died", A))
    assert tally.rate(A.key) == ""
    tally.take(event("started", A))
    tally.take(event("progress", A, done=110, total=150, note=""))  # from its checkpoint
    clock.now += 10
    tally.take(event("progress", A, done=120, total=150, note=""))
    assert tally.rate(A.key) == "120/150, 1/s"


def test_time_left_follows_the_size_of_the_cluster() -> None:
    tally = Tally([Planned(one, "missing", 10.0) for one in (A, B, C, D)], 1, Clock(), {})
    assert tally.seconds_left() == (40.0, 0)
    tally.take({"event": "capacity", "workers": 4})
    assert tally.seconds_left() == (10.0, 0)


def test_a_lost_node_is_told() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.begin(PLAN, 1)
    display.event(event("worker died", B, pid=None, manner="its node was lost"))
    display.event({"event": "warning", "message": "warning: no node has a GPU: waiting for one to join"})
    assert stream.getvalue().splitlines()[1:] == [
        f"warning: a worker died (its node was lost) in {B.label}; another takes over",
        "warning: no node has a GPU: waiting for one to join",
    ]


def test_a_step_found_twice_counts_once() -> None:
    tally = Tally(PLAN, 2, Clock(), {})
    tally.take(event("found", B))
    tally.take(event("finished", B, seconds=1.0))
    assert tally.done == 1


def test_the_rate_of_a_running_step() -> None:
    clock = Clock()
    tally = Tally(PLAN, 1, clock, {})
    tally.take(event("started", B))
    tally.take(event("progress", B, done=0, total=1000, unit="questions", note=""))
    clock.now += 4
    tally.take(event("progress", B, done=120, total=1000, unit="questions", note="loss 0.31"))
    assert tally.rate(B.key) == "120/1000 questions, 30/s, loss 0.31"


def test_plain_lines() -> None:
    stream, clock = io.StringIO(), Clock()
    display = PlainDisplay(stream, {B.key: "greedy/test/dpo"}, clock)
    display.begin(PLAN, 1)
    display.event(event("started", B, pid=1))
    for _ in range(4):
        clock.now += 20
        display.event(event("progress", B, done=1, total=2, unit="x", note=""))
    display.event(event("finished", B, seconds=80.0))
    for pid in (7, 7, 8):
        display.event(event("waiting", C, pid=pid, host="h", progress=None))
    display.event(event("stopped", C, reason="nothing left"))
    display.end(Outcome(done={B.key}, cached={A.key}, stopped={C.key: "nothing left"}))
    assert stream.getvalue().splitlines() == [
        "1/3 stages · 1 cached · 0:10 left + 1 not timed yet",
        "greedy/test/dpo: started",
        "greedy/test/dpo: 1/2 x",
        "greedy/test/dpo: done in 1:20 (2/3 stages · 1 cached)",
        f"{C.label}: waiting for pid 7 on host h",
        f"{C.label}: waiting for pid 8 on host h",
        f"{C.label}: stopped: nothing left",
        "incomplete: 1 computed, 1 cached, 1 stopped: nothing left",
    ]


def test_bars_on_a_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    display = RichDisplay(console, {B.key: "sft [hybrid] 1"}, clock)
    display.begin(PLAN, 2)
    display.event(event("started", B, pid=1))
    display.event(event("progress", B, done=0, total=10, unit="steps", note=""))
    clock.now += 2
    display.event(event("progress", B, done=3, total=10, unit="steps", note=""))
    display._progress.refresh()  # type: ignore[union-attr]
    shown = stream.getvalue()
    assert "sft [hybrid] 1" in shown
    assert "3/10 steps, 1.5/s" in shown
    assert "1/3 stages · 1 cached · 1 running · 4.7 s left + 1 not timed yet" in shown
    display.event(event("failed", B, reason="ValueError: [red]no markup[/red] (traceback in x.txt)"))
    display.event(event("corrupt", A, problem="one bit", moved_to="quarantine/a"))
    display.end(Outcome(failed={B.key: "x"}))
    shown = stream.getvalue()
    assert "failed: ValueError: [red]no markup[/red]" in shown
    assert f"warning: {A.label} was damaged (one bit); moved to quarantine/a; making it anew" in shown
    assert shown.rstrip().endswith("incomplete: 0 computed, 0 cached, 1 failed: x")


def test_a_real_run_with_bars(tmp_path: Path) -> None:
    stream = io.StringIO()
    display = RichDisplay(Console(file=stream, force_terminal=True, width=120, color_system=None))
    store = Store(tmp_path / "store")
    targets = {"a": total(parts=[slow(seconds=0.1)]), "b": toy.empty(of=number(n=1))}
    run_graph(targets, store, workers=2, display=display)
    shown = stream.getvalue()
    assert f"{targets['b'].label}: stopped: nothing was left of 12 questions" in shown
    last = "incomplete: 3 computed, 0 cached, 1 stopped: nothing was left of 12 questions"
    assert shown.rstrip().endswith(last)
    assert "naps" in shown


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_full_disk_what_was_computed_before_is_counted(tmp_path: Path, workers: int) -> None:
    stream, store = io.StringIO(), Store(tmp_path / "store")
    run_graph({"a": A}, store)
    with pytest.raises(DiskFullError):
        run_graph(
            {"b": toy.without_space(of=total(parts=[A, B, C]))},
            store,
            workers=workers,
            display=PlainDisplay(stream),
        )
    assert stream.getvalue().splitlines()[-1] == "incomplete: 3 computed, 1 cached"


def test_the_last_line_names_one_reason_and_counts_the_others() -> None:
    stopped = {A.key: "no question is left", B.key: f"needs {A.label}: no question is left"}
    assert closing(Outcome(stopped=stopped)).endswith("0 cached, 2 stopped: no question is left")
    outcome = Outcome(failed={C.key: "ValueError: x"}, stopped=stopped)
    assert closing(outcome).endswith("1 failed, 2 stopped: ValueError: x (other reasons, above: 1)")


def test_the_stream_decides() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(make_display(io.StringIO()), PlainDisplay)
    assert isinstance(make_display(Terminal()), RichDisplay)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (65, "1:05"), (7207, "2:00:07")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_last_line() -> None:
    assert closing(Outcome(done={"a"}, cached={"b", "c"})) == "done: 1 computed, 2 cached"
    assert closing(Outcome(interrupted=True)) == "interrupted: 0 computed, 0 cached"
