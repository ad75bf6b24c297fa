"""`--notify URL`: what is posted when, and that a server that is gone, refuses or hangs costs a warning only."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny import write_experiment
from tests.typed import typed
from w2s_core.cli import notify
from w2s_core.cli.main import w2s
from w2s_core.cli.notify import Notifier


class Hook:
    """An incoming webhook: the lines that it got, in order, and the status that it answers with."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/json"
                hook.lines.append(json.loads(body)["text"])
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hooks/T0SECRETPATH"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


def test_a_run_posts_its_end_and_its_first_failure(tmp_path: Path, hook: Hook) -> None:
    config = write_experiment(tmp_path, evaluation={"samples": 0})
    small = ("stage2.methods=[dpo]", "--name", "noted")
    # A weak model of such weights answers nothing that could be a demonstration.
    bad = typed(
        "run", str(config), *small, "weak_sft.learning_rate=1.0e+30", "--notify", hook.url, folder=tmp_path
    )
    assert bad.returncode == 1, bad.stderr[-2000:]
    first, last = hook.lines
    assert "a step stopped: demonstrate: 2 demonstrations wanted" in first
    assert last.startswith("w2s run ")
    assert ": incomplete: demonstrate: 2 demonstrations wanted" in last
    hook.lines.clear()
    refused = typed("run", str(config), "no.such=1", "--notify", hook.url, folder=tmp_path)
    assert refused.returncode == 2
    assert len(hook.lines) == 1
    assert ": stopped: " in hook.lines[0]
    assert "no.such" in hook.lines[0]
    kept = "\n".join(file.read_text() for file in (tmp_path / ".w2s" / "refs").rglob("*.json"))
    assert "--notify" in kept
    for text in (*hook.lines, first, last, bad.stdout, bad.stderr, refused.stderr, kept):
        assert "T0SECRETPATH" not in text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, "complete"),
        (SystemExit(0), "complete"),
        (SystemExit(1), "incomplete"),
        (SystemExit(130), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(28, "No space left on device"), "stopped: [Errno 28] No space left on device"),
    ],
)
def test_the_end_is_posted_in_words(hook: Hook, error: BaseException | None, line: str) -> None:
    Notifier(hook.url, "w2s run x.yaml").end(error)
    assert hook.lines == [f"w2s run x.yaml: {line}"]


def test_only_the_first_of_many_failures_is_posted_at_once(hook: Hook) -> None:
    notifier = Notifier(hook.url, "w2s sweep s.yaml")
    for reason in ("the loss is nan", "a second", "a third"):
        notifier.event({"event": "failed", "key": "k", "reason": reason})
        notifier.event({"event": "progress", "key": "k"})
    notifier.end(SystemExit(1))
    assert sorted(hook.lines) == [
        "w2s sweep s.yaml: a step failed: the loss is nan",
        "w2s sweep s.yaml: incomplete: the loss is nan",
    ]


def test_a_refusal_is_a_warning_without_the_address(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    hook.status = 404
    Notifier(hook.url, "w2s").end(None)
    warning = capsys.readouterr().err
    assert warning == "warning: --notify: not sent: Not Found\n"
    hook.server.shutdown()
    hook.server.server_close()
    Notifier(hook.url, "w2s").end(None)
    assert "Connection refused" in capsys.readouterr().err


def test_a_server_that_never_answers_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        Notifier(f"http://127.0.0.1:{silent.getsockname()[1]}/", "w2s").end(None)
        assert time.monotonic() - begun < 5
    assert "warning: --notify: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["hooks.example.org/x", "file:///etc/hosts", "ftp://h/x", "https://", "http://[::1/"]
)
def test_what_is_no_address_is_refused(url: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(w2s, ["run", str(tmp_path / "none.yaml"), "--notify", url])
    assert done.exit_code == 2
    assert "should be an address such as https://HOST/PATH" in done.output


def test_nothing_is_opened_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify.urllib.request, "urlopen", lambda *_, **__: pytest.fail("a connection"))
    notifier = Notifier(None, "w2s")
    notifier.event({"event": "failed", "key": "k", "reason": "r"})
    notifier.end(None)
