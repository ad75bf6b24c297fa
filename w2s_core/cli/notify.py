"""`--notify URL`: one line by HTTP when the first step fails, and one when a run or a sweep ends."""

import functools
import http.client
import json
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import click

from w2s_core.cli.options import INTERRUPTED
from w2s_core.errors import one_line

F = TypeVar("F", bound=Callable[..., Any])
TIMEOUT_S = 10.0
ENVIRONMENT = "W2S_NOTIFY"
_ENDS = {None: "complete", 0: "complete", INTERRUPTED: "interrupted"}  # by exit status


class Notifier:
    """Posts {"text": LINE} as JSON, as the incoming webhooks of chat services take it. What goes wrong there costs a
    warning and at most `TIMEOUT_S` seconds at the end, never the run.
    """

    def __init__(self, url: str | None, title: str) -> None:
        self._url, self._title = url, title
        self._reasons: list[str] = []
        self._sending: list[threading.Thread] = []

    def event(self, event: dict[str, Any]) -> None:
        """Look at an event of the engine: the first failure, such as a training that diverged, is posted at once."""
        if event["event"] not in ("failed", "stopped"):
            return
        self._reasons.append(event["reason"])
        if len(self._reasons) == 1:
            self._post(f"a step {event['event']}: {event['reason']}")

    def end(self, error: BaseException | None) -> None:
        """Post how it ended: `error` is what the command raised. Waits until all is sent, or too slow."""
        if isinstance(error, SystemExit):
            manner = _ENDS.get(error.code if isinstance(error.code, int) else None, "incomplete")
        elif isinstance(error, KeyboardInterrupt | click.Abort):
            manner = "interrupted"
        else:
            manner = "complete" if error is None else f"stopped: {error}"
        reason = f": {self._reasons[0]}" if self._reasons and manner == "incomplete" else ""
        self._post(manner + reason)
        for thread in self._sending:
            thread.join(TIMEOUT_S)
            if thread.is_alive():
                _warn(f"no answer in {TIMEOUT_S:.0f} s")
                return

    def _post(self, line: str) -> None:
        if self._url is None:
            return
        from w2s_core.engine.redaction import redact_text

        body = json.dumps({"text": one_line(redact_text(f"{self._title}: {line}"))}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        # In a thread, as a server that sends a byte now and then would outlast any timeout of the socket.
        thread = threading.Thread(target=_send, args=(request,), daemon=True)
        thread.start()
        self._sending.append(thread)


def _send(request: urllib.request.Request) -> None:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            pass
    except (
        OSError,
        ValueError,
        http.client.HTTPException,
    ) as error:  # a status of 400 and more is an OSError too
        _warn(str(getattr(error, "reason", error)))


def _warn(problem: str) -> None:
    """The address itself is a secret: who has it may post."""
    click.echo(f"warning: --notify: not sent: {one_line(problem)}", err=True)


def _checked(ctx: click.Context, option: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("should be an address such as https://HOST/PATH, which takes a POST of JSON")
    return url


def notify_option(command: F) -> F:
    """`--notify URL`. The command gets one argument, `notifier`, whose `event` is to see what happens to steps."""

    @functools.wraps(command)
    def notifying(*args: Any, notify: str | None, **values: Any) -> Any:
        from w2s_core.engine.redaction import command_line

        notifier = Notifier(notify, " ".join(command_line())[:200])
        try:
            result = command(*args, notifier=notifier, **values)
        finally:
            notifier.end(sys.exception())
        return result

    option = click.option(
        "--notify",
        metavar="URL",
        envvar=ENVIRONMENT,
        callback=_checked,
        help=f"Post a line of JSON there when a first step fails, and at the end (or set {ENVIRONMENT}).",
    )
    return cast(F, option(notifying))
