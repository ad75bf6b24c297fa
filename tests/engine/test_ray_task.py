"""What a Ray task does, called as the plain function that it is; and what a command says before Ray is needed."""

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import toy
from tests.engine.toy import executions, number, total, trains, value
from w2s_core.engine import Handle, Store, locks, run_graph, step
from w2s_core.engine.executors.ray_task import _join, run_step
from w2s_core.engine.session import Ending, Session
from w2s_core.engine.step import topological
from w2s_core.errors import UserError

HOST = socket.gethostname()


class Node:
    """A store with an open session, as a driver has it, and the jobs that the driver would send."""

    def __init__(self, root: Path) -> None:
        self.store, self.log = Store(root / "store"), root / "log.txt"
        self.session = Session.open(self.store, [])

    def job(self, handle: Handle, **other: Any) -> str:
        job = {
            "root": str(self.store.root),
            "session": str(self.session.folder),
            "begun": str(self.session.folder / "begun"),
            "key": handle.key,
            "specs": [one.spec() for one in topological([handle])],
            "imports": {"modules": ["tests.engine.toy"], "paths": []},
            "runtime": {"log": str(self.log)},
        }
        return json.dumps({**job, **other})

    def run(self, handle: Handle, **other: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run_step(self.job(handle, **other)))
        return answer


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    _join.cache_clear()
    made = Node(tmp_path)
    yield made
    made.session.close()
    _join.cache_clear()


def test_a_task_computes_its_step_and_that_alone(node: Node) -> None:
    target = total(parts=[number(n=2), number(n=3)])
    assert node.run(target)["event"] == "lost"
    assert [node.run(number(n=n))["event"] for n in (2, 3)] == ["finished"] * 2
    answer = node.run(target)
    assert (answer["event"], answer["host"]) == ("finished", HOST)
    assert answer["seconds"] >= 0
    assert value(node.store.path(target.key)) == 5
    assert json.loads((node.session.folder / "begun").read_text())["host"] == HOST
    assert node.run(target)["event"] == "found"
    assert executions(node.log) == ["number2", "number3", "total"]


def test_a_step_that_another_process_computes_is_left_to_it(node: Node) -> None:
    with locks.wait_lock(node.store.lock_path(number(n=1).key)):
        assert node.run(number(n=1))["event"] == "held"
    assert executions(node.log) == []


@pytest.mark.parametrize(
    ("handle", "kind", "reason"),
    [
        (toy.misused(), "stopped", "the folder models/x has no tokenizer"),
        (toy.broken(of=number(n=1)), "failed", "ZeroDivisionError: by design"),
    ],
)
def test_how_a_step_ended_stands_in_the_session(node: Node, handle: Handle, kind: str, reason: str) -> None:
    node.run(number(n=1))
    assert node.run(handle)["event"] == "ended"
    ending = node.session.ending(handle.key)
    assert ending is not None
    assert ending.kind == kind
    assert ending.reason.startswith(reason)


def test_a_step_that_ended_is_not_tried_again(node: Node) -> None:
    node.session.end_step(number(n=1).key, Ending("failed", "its process died 3 times"))
    assert node.run(number(n=1))["event"] == "ended"
    assert executions(node.log) == []


def test_a_damaged_input_is_told(node: Node) -> None:
    node.run(number(n=2))
    (node.store.folder(number(n=2).key) / "value.txt").write_text("9")
    _join.cache_clear()  # another process, that has not read it yet
    answer = node.run(total(parts=[number(n=2)]))
    assert (answer["event"], answer["key"]) == ("corrupt", number(n=2).key)
    assert Path(answer["moved_to"]).is_dir()
    assert "value.txt" in answer["problem"]


def test_a_node_that_does_not_see_the_store_says_so(node: Node, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    answer = node.run(number(n=1), root=str(elsewhere), session=str(elsewhere / "sessions" / "1.ab"))
    assert (answer["event"], answer["kind"]) == ("abort", "UserError")
    assert f"host {HOST} does not see the store {elsewhere}: with Ray it must lie on" in answer["message"]
    assert not elsewhere.exists()


def test_a_node_that_file_locks_do_not_reach_says_so(node: Node) -> None:
    job = node.job(number(n=1))
    node.session._lock.release(remove=False)  # what another node sees where locks stay on one machine
    answer = json.loads(run_step(job))
    assert answer["event"] == "abort"
    assert f"file locks of the store {node.store.root} do not reach host {HOST}" in answer["message"]
    assert executions(node.log) == []


def test_a_node_without_the_program_or_with_another_version_says_so(node: Node) -> None:
    answer = node.run(number(n=1), imports={"modules": ["tests.engine.absent"], "paths": []})
    assert answer["event"] == "abort"
    assert f"host {HOST} cannot import tests.engine.absent" in answer["message"]
    other = {**number(n=1).spec(), "fingerprint": "0" * 64}
    answer = node.run(number(n=1), specs=[{**other, "key": "0" * 64}])
    assert "the code of step number changed since this command started" in answer["message"]
    assert executions(node.log) == []


def test_without_ray_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest)
    )
    with pytest.raises(UserError, match=r"Ray is not installed: pip install 'w2s\[ray\]'"):
        run_graph({"it": number(n=1)}, Store(tmp_path / "store"), executor="ray")
    assert run_graph({"it": number(n=1)}, Store(tmp_path / "store")).complete


def test_an_address_without_the_ray_executor_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--address auto is of a Ray cluster: add --executor ray"):
        run_graph({"it": number(n=1)}, Store(tmp_path / "store"), address="auto")


def test_the_engine_imports_no_ray() -> None:
    script = "import sys, w2s_core.engine; print('ray' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


def test_what_a_step_declares_to_need() -> None:
    assert number.needs(gpu=True) == number.needs(gpu=False) == (1, 0)
    assert (trains.needs(gpu=True), trains.needs(gpu=False)) == ((1, 1), (1, 0))
    assert toy.broad.needs(gpu=True) == (2, 0)


def test_what_a_step_needs_is_in_no_key(tmp_path: Path) -> None:
    """The same function in one file, declared with other needs: the key stays."""
    keys = set()
    for needs in ("", ", gpu=True", ", cpus=8, gpu=True"):
        path = tmp_path / "declared.py"
        path.write_text(
            "from w2s_core.engine import step\n"
            f"@step(version=1{needs})\n"
            "def declared(ctx, *, n: int):\n"
            "    return {'n': n}\n"
        )
        spec = importlib.util.spec_from_file_location("declared", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        keys.add(module.declared(n=1).key)
    assert len(keys) == 1


def test_a_step_that_needs_no_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="cpus must be at least 1"):

        @step(version=1, cpus=0)
        def idle(ctx: Any) -> None:
            """Never made."""
