"""Start the page and the dashboards beside it, and end all of them together."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from w2s_analysis.dashboard.catalogue import Catalogue, studies_of
from w2s_analysis.dashboard.links import PROJECT, Links, Shared
from w2s_analysis.dashboard.ports import HOST, choose_ports, one_at_a_time
from w2s_analysis.dashboard.servers import Server, start_server
from w2s_core.engine import Store
from w2s_core.engine.redaction import redact_text
from w2s_core.errors import UserError

WATCH_MS: Final = 2000
_ENDING: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@dataclass(frozen=True)
class Plan:
    """What is to be shown. `studies`: numbers by name, in Optuna's database at `url`; `curves`: Trackio's folder."""

    store: Store
    study: str | None
    url: str
    studies: dict[str, int]
    curves: Path | None


def serve(
    root: Path,
    study: str | None,
    *,
    port: int | None = None,
    storage: str | None = None,
    open_page: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; no process is left then.

    Args:
        root: the store.
        study: show the runs of this study only.
        port: the first of consecutive ports; None for free ones.
        storage: URL of Optuna's database; by default `studies.db` in the store.
        open_page: open the comparison page in the browser.
        say: takes one line a dashboard, with its address.

    Raises:
        UserError: no store, no run, an unknown study, a port in use, or a dashboard that cannot start.
    """
    plan = make_plan(root, study, storage)
    beside = ["optuna"] * bool(plan.studies) + ["trackio"] * bool(plan.curves)
    with _until_signal(), ExitStack() as stack:
        catalogue = Catalogue(plan.store, plan.study)
        with one_at_a_time():
            first, *others = choose_ports(1 + len(beside), port)
            ports = dict(zip(beside, others, strict=True))
            servers = [_start(kind, ports[kind], plan, stack) for kind in beside]
            for server in servers:
                server.wait_ready()
            links = _links(plan, ports)
            page = _page_server(Shared(catalogue, links, str(root)), first)
        catalogue.start()
        stack.callback(catalogue.stop)
        address = f"http://{HOST}:{first}/"
        for line in _lines(address, links, plan.study):
            say(line)
        if open_page:
            _open(address)
        _loop(page, servers)


def make_plan(root: Path, study: str | None, storage: str | None) -> Plan:
    """Find out what there is to show.

    Raises:
        UserError: as `serve`.
    """
    from w2s_sweeps.storage import default_url

    if not (root / "STORE.json").is_file():
        raise UserError(f"there is no store at {root}: name one with --store, or {_FIRST_RUN}")
    store = Store(root)
    url = storage or default_url(store.root)
    studies = _studies_in(url, required=storage is not None)
    names = sorted(studies.keys() | studies_of(store))
    if study is not None and study not in names:
        hint = (
            f"known: {', '.join(names)}"
            if names
            else "the store holds none; start one with: w2s sweep STUDY.yaml"
        )
        raise UserError(f"no study is named '{study}' in {store.root}; {hint}")
    if not names and next(iter(store.refs.names()), None) is None:
        raise UserError(f"no run in {store.root} yet: {_FIRST_RUN}")
    folder = store.root / "trackers" / "trackio"
    return Plan(store, study, url, studies, folder if (folder / f"{PROJECT}.db").is_file() else None)


_FIRST_RUN: Final = "make one with: w2s run experiments/mini/paper.yaml"


def _studies_in(url: str, *, required: bool) -> dict[str, int]:
    """The studies of a database and their numbers; creates no database.

    Raises:
        UserError: there is no database although the user named one (`required`), or it cannot be read.
    """
    from w2s_sweeps.storage import database_file, known_studies, open_storage

    file = database_file(url)
    if file is not None and not file.is_file():
        if required:
            raise UserError(f"storage {redact_text(url)}: there is no file {file}")
        return {}
    base = open_storage(url)
    return {name: base.get_study_id_from_name(name) for name in known_studies(url)}


def _start(kind: str, port: int, plan: Plan, stack: ExitStack) -> Server:
    if kind == "optuna":
        server = start_server("optuna-dashboard", {"kind": kind, "port": port, "url": plan.url})
    else:
        server = start_server("Trackio", {"kind": kind, "port": port, "folder": str(plan.curves)})
    stack.callback(server.stop)
    return server


def _links(plan: Plan, ports: dict[str, int]) -> Links:
    optuna, trackio = (
        f"http://{HOST}:{ports[kind]}" if kind in ports else None for kind in ("optuna", "trackio")
    )
    return Links(optuna, plan.studies, trackio)


def _lines(address: str, links: Links, study: str | None) -> Iterator[str]:
    yield f"runs     {address}"
    if (optuna := links.study(study)) is not None:
        yield f"Optuna   {optuna}"
    if (trackio := links.curves()) is not None:
        yield f"Trackio  {trackio}"


def _page_server(shared: Shared, port: int) -> Any:
    """The page's server, listening. It answers requests for this machine's own names, from pages of its own origin."""
    import logging

    import panel as pn
    from tornado.routing import HostMatches, Rule

    from w2s_analysis.dashboard.page import make_page

    for name in ("bokeh", "tornado.access", "panel"):
        # At lower levels they log single requests, such as that for a missing favicon.
        logging.getLogger(name).setLevel(logging.ERROR)
    pn.extension("tabulator")
    try:
        server = pn.serve(
            {"/": lambda: make_page(shared)},
            address=HOST,
            port=port,
            websocket_origin=[f"{name}:{port}" for name in (HOST, "localhost")],
            title="w2s runs",
            show=False,
            start=False,
            verbose=False,
        )
    except OSError:
        raise UserError(f"port {port} was taken by another program just now: start again") from None
    router = server._tornado
    # Pages and websockets alike: a page of another name that resolves to this machine gets status 404.
    router.default_router.rules[:] = [Rule(HostMatches(r"(127\.0\.0\.1|localhost)$"), router.wildcard_router)]
    server.start()
    return server


def _loop(page: Any, servers: list[Server]) -> None:
    """Serve until a signal; a dashboard that ends by itself is said once, the others go on."""
    from tornado.ioloop import PeriodicCallback

    def watch() -> None:
        for server in [server for server in servers if not server.running]:
            servers.remove(server)
            sys.stderr.write(f"w2s: {server.name} has ended by itself; start again to have it back\n")

    watching = PeriodicCallback(watch, WATCH_MS)
    watching.start()
    page.io_loop.asyncio_loop.set_exception_handler(_quiet_about_closed_tabs)
    try:
        page.io_loop.start()
    finally:
        watching.stop()
        page.stop()


def _quiet_about_closed_tabs(loop: Any, context: dict[str, Any]) -> None:
    """A browser tab that is closed while something is sent to it is no error."""
    from tornado.iostream import StreamClosedError
    from tornado.websocket import WebSocketClosedError

    if not isinstance(context.get("exception"), StreamClosedError | WebSocketClosedError):
        loop.default_exception_handler(context)


@contextmanager
def _until_signal() -> Iterator[None]:
    """Signals that end a program end the block, once: what cleans up after it is not interrupted again."""

    def end(number: int, frame: FrameType | None) -> None:
        for ending in _ENDING:
            signal.signal(ending, signal.SIG_IGN)
        raise KeyboardInterrupt

    handlers = {ending: signal.signal(ending, end) for ending in _ENDING}
    try:
        yield
    except KeyboardInterrupt:
        pass  # `end` raised it
    finally:
        for ending, handler in handlers.items():
            signal.signal(ending, handler)


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)
