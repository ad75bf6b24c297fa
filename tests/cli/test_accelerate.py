"""`w2s run --accelerate` as a user types it: the whole method, each training over two processes."""

import json
from pathlib import Path

import pytest

from tests.cli.test_run import w2s
from tests.tiny import REPOSITORY, write_experiment
from w2s_core.engine import Store

TWO = REPOSITORY / "experiments/accelerate/cpu_2.yaml"


@pytest.mark.slow
def test_a_run_over_two_processes_has_the_keys_of_a_run_in_one(tmp_path: Path) -> None:
    config, store = write_experiment(tmp_path), tmp_path / "store"
    fewer = ("stage2.methods=[dpo]", "evaluation.samples=0")
    w2s("run", config, *fewer, "--accelerate", TWO, "--name", "two", store=store, cwd=tmp_path)
    manifests = [json.loads(path.read_text()) for path in (store / "objects").rglob("manifest.json")]
    trained = [one["summary"] for one in manifests if one["spec"]["step"] in ("sft", "prefer")]
    assert len(trained) >= 6
    assert {one["processes"] for one in trained} == {2}
    plan = w2s("plan", config, *fewer, store=store, cwd=tmp_path).stdout
    assert "missing" not in plan
    assert not list((store / "work").iterdir())  # nothing of the launches is left
    assert not list(Store(store).verify())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_processes: 2": "num_processes: 1"}, "num_processes is 1, expected a number from 2 on"),
        ({"use_cpu: true": "use_cpu: false"}, "use_cpu is False, but the device is cpu"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(tmp_path: Path, change: dict[str, str], said: str) -> None:
    text = TWO.read_text()
    for old, new in change.items():
        text = text.replace(old, new)
    path = tmp_path / "two.yaml"
    path.write_text(text)
    done = w2s(
        *("run", write_experiment(tmp_path), "--device", "cpu", "--accelerate", path),
        store=tmp_path / "store",
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "store").exists()  # said before anything is computed
