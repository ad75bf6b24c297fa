"""Accelerate's configs: the shipped ones are what accelerate reads, and a wrong one is one line."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from w2s_core.errors import UserError
from w2s_core.runs import Machine
from w2s_core.training.accelerate_config import check_device, read_accelerate_config

SHIPPED = sorted((Path(__file__).resolve().parents[1] / "experiments/accelerate").glob("*.yaml"))
GOOD = "distributed_type: MULTI_GPU\nnum_processes: 2\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_is_read_alike_by_accelerate(path: Path) -> None:
    ours, theirs = read_accelerate_config(path), load_config_from_file(str(path))
    assert theirs.num_processes == ours["num_processes"]
    assert theirs.distributed_type == ours["distributed_type"]
    assert theirs.use_cpu == ours.get("use_cpu", False)
    assert str(theirs.mixed_precision) == "no"  # an experiment's precision decides, and stands in the key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("MULTI_GPU", "TPU"), "distributed_type is 'TPU', expected one of MULTI_CPU"),
        ("num_processes: 2\n", "distributed_type is None"),
        (GOOD.replace("2", "1"), "num_processes is 1, expected a number from 2 on"),
        (GOOD.replace("2", "two"), "num_processes is 'two'"),
        (GOOD + "num_machines: 2\n", "num_machines is 2: only 1 is supported"),
        ("- a list\n", "an accelerate config is a mapping of fields"),
        ("a: [", "not valid YAML"),
        (GOOD + "num_processes: 3\n", "field 'num_processes' is given twice"),
    ],
)
def test_a_wrong_config_is_one_line_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_accelerate_config(path)
    line = str(caught.value)
    assert said in line
    assert str(path) in line
    assert "\n" not in line


def test_it_goes_into_the_runtime_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.yaml").write_text(GOOD + "use_cpu: true\n")
    monkeypatch.chdir(tmp_path)
    machine = Machine(accelerate=Path("two.yaml"), device="cpu").checked()
    assert machine.runtime["accelerate"] == str(tmp_path / "two.yaml")
    with pytest.raises(UserError, match="not with --executor ray"):
        Machine(accelerate=Path("two.yaml"), executor="ray", device="cpu").checked()
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot read"):
        Machine(accelerate=Path("nowhere.yaml"), device="cpu").checked()


@pytest.mark.parametrize(
    ("fields", "device", "gpus", "said"),
    [
        ({"use_cpu": True}, "cuda", 2, "use_cpu is True, but the device is cuda"),
        ({}, "cpu", 2, "use_cpu is False, but the device is cpu"),
        ({}, "cuda", 1, "num_processes is 2, but there are 1 GPUs here"),
        ({}, "cuda", 2, None),
        ({"use_cpu": True}, "cpu", 0, None),
    ],
)
def test_the_device_has_to_be_there(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, bool], device: str, gpus: int, said: str | None
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    config = {"num_processes": 2} | fields
    if said is None:
        check_device(Path("two.yaml"), config, device)
        return
    with pytest.raises(UserError, match=said):
        check_device(Path("two.yaml"), config, device)
