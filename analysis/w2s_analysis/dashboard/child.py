"""What runs in a process of its own: optuna-dashboard or Trackio, until standard input ends.

The first line of standard input is JSON: {"kind", "port", ...}. It comes that way because a storage URL may hold a
password, which the arguments of a process would show to all. One line goes back on standard output: {"ready": true} or
{"error": "..."}; what the libraries print is discarded. The end of standard input ends the process, so that none is
left when the parent is killed.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from w2s_analysis.dashboard.ports import HOST

Wsgi = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


def main() -> None:
    """Serve one dashboard."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Trackio prints a write token: nothing that the libraries print may reach the terminal.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    request = json.loads(sys.stdin.readline())
    try:
        serve: Callable[..., None] = {"optuna": _optuna, "trackio": _trackio}[request.pop("kind")]
        serve(**request)
    except Exception as error:  # noqa: BLE001 - sent to the parent, which reports it in one line
        text = (str(error).strip().splitlines() or ["no message"])[0]
        _reply(replies, {"error": f"{type(error).__name__}: {text}"})
        sys.exit(1)
    _reply(replies, {"ready": True})
    sys.stdin.read()  # returns when the parent closes it or ends
    os._exit(0)  # does not wait for the servers' threads, which have nothing to write


def _reply(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _optuna(port: int, url: str) -> None:
    """Serve optuna-dashboard in a thread."""
    import optuna_dashboard

    from w2s_sweeps.storage import open_storage

    app = optuna_dashboard.wsgi(open_storage(url))
    _in_thread(local_only(app, port), port)


def _trackio(port: int, folder: str) -> None:
    """Serve Trackio in a thread of its own making."""
    # Trackio reads its folder when it is imported; its other variables, and Gradio's, would serve elsewhere.
    for name in [name for name in os.environ if name.startswith(("TRACKIO_", "GRADIO_"))]:
        del os.environ[name]
    os.environ |= {"TRACKIO_DIR": folder, "TRACKIO_STORAGE_MODE": "sqlite", "HF_HUB_OFFLINE": "1"}
    import trackio
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    server, *_ = trackio.show(
        open_browser=False, block_thread=False, host=HOST, share=False, server_port=port
    )
    # Its first answer has built the stack, to which nothing can be added any more: this stands before it.
    server.app.middleware_stack = TrustedHostMiddleware(
        server.app.middleware_stack, [HOST, "localhost"], www_redirect=False
    )


def local_only(app: Wsgi, port: int) -> Wsgi:
    """Refuse requests that name another host, so that a web page whose name resolves to this machine cannot use it.

    optuna-dashboard has no login, and its pages can delete a study.
    """
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") in hosts:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this server answers on 127.0.0.1 only\n"]

    return guarded


def _in_thread(app: Wsgi, port: int) -> None:
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    class Threaded(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Log no request: standard error is the terminal of the parent."""

    server = make_server(HOST, port, app, server_class=Threaded, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    main()
