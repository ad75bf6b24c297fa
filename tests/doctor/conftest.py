"""A hub that is not there, and the command as a user types it."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants
from huggingface_hub.utils._http import default_client_factory, httpx2

from tests.tiny import BASES, write_experiment
from w2s_core.doctor.command import doctor

Answer = Callable[[Any], Any]
Type = Callable[..., Result]


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without logins, tokens or a cache of models."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    return home


@pytest.fixture
def w2s_doctor(tmp_path: Path) -> Type:
    """Type `w2s --store STORE doctor ...`; errors of users are raised, as `main` would print them."""

    def typed(*words: object) -> Result:
        done = CliRunner().invoke(
            doctor, [str(word) for word in words], obj=tmp_path / "store", catch_exceptions=False
        )
        assert not (tmp_path / "store").exists()  # looking changes nothing
        return done

    return typed


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """Let every request to the hub be answered by a function, below all of huggingface_hub's own code."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def answered(by: Answer) -> None:
        client = httpx2.Client(transport=httpx2.MockTransport(by))
        huggingface_hub.set_client_factory(lambda: client)

    yield answered
    huggingface_hub.set_client_factory(default_client_factory)


def down(request: Any) -> Any:
    """No network."""
    raise httpx2.ConnectError("Name or service not known", request=request)


def silent(request: Any) -> Any:
    """A network that swallows what is sent."""
    time.sleep(20)
    raise httpx2.ReadTimeout("timed out", request=request)


def model_page(size: int, *, gated: bool | str = False, name: str = "model.safetensors") -> Answer:
    """The hub's answer about a model with one file of weights."""
    files = [{"rfilename": "config.json", "size": 700}, {"rfilename": name, "size": size}]
    page = {"id": "org/model", "sha": "abc", "gated": gated, "siblings": files, "tags": [], "private": False}
    return lambda request: httpx2.Response(200, json=page)


def refused(status: int, code: str) -> Answer:
    """The hub's answer to a question about something that it does not show."""
    return lambda request: httpx2.Response(
        status, headers={"X-Error-Code": code, "X-Error-Message": "no such thing"}, json={"error": "no"}
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_experiment(tmp_path)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A shipped base that a test may break."""
    return Path(shutil.copytree(BASES / "llama", tmp_path / "base"))


def missing(done: Result) -> list[str]:
    """What the experiment lacks: lines with that status under the machine's."""
    lines = done.stdout.splitlines()
    start = next(number for number, text in enumerate(lines) if "  experiment  " in text)
    return [text for text in lines[start:] if text.startswith("missing")]
