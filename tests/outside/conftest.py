"""Commands with secrets planted around them, and with every way out of this machine refused and noted."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

GUARD = Path(__file__).parent / "guard"
REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = REPOSITORY / "tests" / "sweeps" / "plain_recipe.py"
SECRETS = {
    "WANDB_API_KEY": "5ec2e7" + "a1b2c3d4e5" * 3 + "f6a7",
    "HF_TOKEN": "hf_" + "PlantedPlantedPlantedPlanted",
    "PGPASSWORD": "planted-pg-password",
}
NETRC, USER_PASSWORD, QUERY_PASSWORD = "planted-netrc-password", "pl@nted/user", "planted-query-password"
ALL_SECRETS = (*SECRETS.values(), NETRC, USER_PASSWORD, "nted/user", QUERY_PASSWORD)


@dataclass
class Outside:
    """A folder with a home that holds secrets. `output`: what the commands printed; `proxied`: calls of the proxy."""

    folder: Path
    proxy: int
    output: list[str] = field(default_factory=list)
    proxied: list[bytes] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "WANDB_"))}
        proxy = f"http://127.0.0.1:{self.proxy}"  # what is no Python, such as W&B's service, meets this
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        proxies = {name: proxy for upper in names for name in (upper, upper.lower())}
        paths = {"HOME": str(self.home), "PYTHONPATH": f"{GUARD}:{REPOSITORY}", "GUARD_LOG": str(self.log)}
        return kept | proxies | {"NO_PROXY": "127.0.0.1,localhost"} | SECRETS | paths

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> Path:
        return self.folder / "connections.txt"

    @property
    def connections(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def python(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        self.output += [done.stdout, done.stderr]
        return done

    def w2s(self, *arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.python("-m", "w2s_core.cli", "--import", RECIPE, "--store", "store", *arguments)
        assert done.returncode == status, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        place = Outside(tmp_path_factory.mktemp("outside"), proxy.getsockname()[1])
        place.home.mkdir()
        netrc = f"machine api.wandb.ai\n  login user\n  password {NETRC}\n"
        (place.home / ".netrc").write_text(netrc)
        (place.home / ".netrc").chmod(0o600)
        threading.Thread(target=_note_calls, args=(proxy, place.proxied), daemon=True).start()
        yield place


def _note_calls(proxy: socket.socket, calls: list[bytes]) -> None:
    while True:
        try:
            connection, _ = proxy.accept()
        except OSError:  # closed: the test is over
            return
        with connection:
            connection.settimeout(5)
            calls.append(connection.recv(1000))
