"""Settings of every test: offline, one thread, no account."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; on a build machine the examples must not vary.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# Set before any test module imports a library that reads them at import time.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    WANDB_MODE="offline",
    WANDB_SILENT="true",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
LEAN = str(Path(__file__).parent / "lean")
if LEAN not in os.environ.get("PYTHONPATH", ""):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [LEAN, os.environ.get("PYTHONPATH")]))
for hidden in [name for name, module in sys.modules.items() if module is None]:
    del sys.modules[hidden]  # pytest-xdist's own processes started so too, and are to have them
for secret in ("WANDB_API_KEY", "HF_TOKEN"):
    os.environ.pop(secret, None)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a finished tiny run, to be copied: a run of the same experiment computes nothing."""
    import w2s
    from tests.tiny import write_experiment

    folder = tmp_path_factory.mktemp("tiny")
    lab = w2s.Lab(folder / "store")
    lab.run(write_experiment(folder), name="tiny")
    lab.store.refs.delete("tiny")
    return folder / "store"
