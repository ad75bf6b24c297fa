"""`w2s doctor CONFIG`: whether an experiment can run here, and what to type where it cannot."""

import importlib.metadata
import json
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from huggingface_hub import constants

from tests.doctor.conftest import Answer, Type, down, model_page, refused
from tests.doctor.measured import make_base
from tests.doctor.test_machine import line
from tests.tiny import BASES, REPOSITORY, write_experiment
from w2s_core import doctor_command, doctor_memory, memory
from w2s_core.doctor import Device
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment

HUB_MODEL = "weak=org/model@0123456789abcdef"


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
    start = next(number for number, one in enumerate(lines) if "  experiment  " in one)
    return [one for one in lines[start:] if one.startswith("missing")]


def test_the_shipped_experiment_can_run(w2s_doctor: Type) -> None:
    done = w2s_doctor(REPOSITORY / "experiments" / "mini" / "paper.yaml")
    assert done.exit_code == 0, done.stdout
    assert not missing(done)
    assert "train_1 1,000, train_2 1,000, test 500" in line(done.stdout, "data")
    assert "458 k parameters" in line(done.stdout, "weak")
    assert "EOS <eos> (0)" in line(done.stdout, "strong tokenizer")
    for what in ("weak sft", "weak sampling", "strong sft", "strong dpo", "strong orpo", "strong sampling"):
        assert line(done.stdout, what).startswith("ok")


def test_what_a_run_takes_doctor_takes(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, "stage2.methods=[dpo]", "max_new_tokens=40", "--device", "cpu", "--workers", 2)
    assert done.exit_code == 0
    assert "strong orpo" not in done.stdout
    assert "2 workers, 256 responses of 40 tokens" in line(done.stdout, "strong sampling")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage1.consistncy=1"], "did you mean 'consistency'"),
        (["weak=3"], "weak"),
        (["nonsense"], "write field=value"),
    ],
)
def test_a_mistake_in_the_experiment_is_the_one_line_that_run_prints(
    w2s_doctor: Type, tiny: Path, words: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        w2s_doctor(tiny, *words)
    assert "\n" not in str(caught.value)


def test_data_without_an_experiment_is_refused(w2s_doctor: Type, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name its file"):
        w2s_doctor("--data", tmp_path)


# Models in folders


def break_config(base: Path) -> None:
    (base / "config.json").unlink()


def break_json(base: Path) -> None:
    (base / "config.json").write_text("{")


def break_pickle(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")


def break_weights(base: Path) -> None:
    (base / "model.safetensors").unlink()


def break_download(base: Path) -> None:
    content = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(content[: len(content) // 2])


def break_shards(base: Path) -> None:
    (base / "model.safetensors").rename(base / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def break_index(base: Path) -> None:
    (base / "model.safetensors").rename(base / "weights.safetensors")
    (base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')


def break_tokenizer(base: Path) -> None:
    (base / "tokenizer.json").unlink()


def break_eos(base: Path) -> None:
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": None}))


def break_vocabulary(base: Path) -> None:
    content = json.loads((base / "tokenizer.json").read_text())
    for one in content["added_tokens"]:
        one["id"] += 1000 * (one["content"] == "<eos>")
    (base / "tokenizer.json").write_text(json.dumps(content))


BREAKS: list[tuple[Callable[[Path], None], str, str]] = [
    (shutil.rmtree, "weak", "no such model folder"),
    (break_config, "weak", "config.json is missing"),
    (break_json, "weak", "not valid JSON"),
    (break_pickle, "weak", "is a pickle"),
    (break_weights, "weak", "no weights"),
    (break_download, "weak", "cut off"),
    (break_shards, "weak", "1 of 2 shards missing"),
    (break_index, "weak", "file in this folder"),
    (break_tokenizer, "weak tokenizer", "no tokenizer"),
    (break_eos, "weak tokenizer", "no EOS token"),
    (break_vocabulary, "weak tokenizer", "EOS <eos> has the number 1000, but the model only 156 embeddings"),
]


@pytest.mark.parametrize(("damage", "what", "said"), BREAKS, ids=[one[0].__name__ for one in BREAKS])
def test_a_model_that_cannot_be_used_is_one_line_with_a_command(
    w2s_doctor: Type, tiny: Path, copied: Path, damage: Callable[[Path], None], what: str, said: str
) -> None:
    assert w2s_doctor(tiny, f"weak={copied}").exit_code == 0
    damage(copied)
    done = w2s_doctor(tiny, f"weak={copied}")
    assert done.exit_code == 1
    (only,) = missing(done)
    assert only == line(done.stdout, what)
    assert said in only
    assert " -> " in only
    assert line(done.stdout, "strong sft").startswith("ok")  # the rest is still looked at


def test_a_model_without_the_layers_of_an_adapter_is_refused_before_it_is_trained(
    w2s_doctor: Type, tiny: Path, tmp_path: Path
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    base = make_base(tmp_path / "gpt2")
    GPT2LMHeadModel(GPT2Config(vocab_size=120, n_embd=8, n_layer=1, n_head=1)).save_pretrained(base)
    done = w2s_doctor(tiny, f"weak={base}")
    assert done.exit_code == 1
    assert "no layers named q_proj" in line(done.stdout, "weak")


def test_a_config_alone_tells_what_the_model_would_take(w2s_doctor: Type, tiny: Path, tmp_path: Path) -> None:
    """Before 16 GB are fetched: Qwen3-8B's published config, and 8.19 B parameters."""
    folder = tmp_path / "Qwen3-8B-Base"
    folder.mkdir()
    config = {
        "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        "max_position_embeddings": 32768, "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    assert memory.count_parameters(folder) == 8_190_735_360
    done = w2s_doctor(tiny, f"strong={folder}", "--device", "cpu")
    assert done.exit_code == 1
    assert "no weights" in line(done.stdout, "strong")
    assert "weights 32.8 GB" in line(done.stdout, "strong sft")


def test_a_path_that_can_be_none_is_a_line(w2s_doctor: Type, tiny: Path) -> None:
    for path in ("/" + "a" * 300, '"/a\\0b"'):
        done = w2s_doctor(tiny, f"weak={path}")
        assert done.exit_code == 1
        assert line(done.stdout, "weak").startswith("missing")


def test_a_command_that_is_pasted_runs_nothing_that_a_config_says(
    w2s_doctor: Type, tiny: Path, tmp_path: Path
) -> None:
    evil = "x; touch evil $(touch evil) '"
    for weak in (f"/models/{evil}", f"org/model@{evil}"):
        (tmp_path / "evil.yaml").write_text(json.dumps(json.loads(tiny.read_text()) | {"weak": weak}))
        command = line(w2s_doctor(tmp_path / "evil.yaml").stdout, "weak").split(" -> ")[1]
        words = shlex.split(command.removeprefix("HF_HUB_OFFLINE=0 "))
        assert words[:2] == ["hf", "download"]
        assert words[-1].endswith(evil)


# Models of the hub


@pytest.mark.parametrize(
    ("answer", "status", "said", "code"),
    [
        (model_page(16_400_000_000), "ok", "would be fetched: 16.4 GB", 0),
        (model_page(10**15), "missing", "would be fetched, ", 1),
        (model_page(10**9, gated="manual"), "missing", "gated and there is no token", 1),
        (model_page(10**9, name="pytorch_model.bin"), "missing", "no safetensors", 1),
        (refused(404, "RepoNotFound"), "missing", "org/model@", 1),
        (refused(404, "RevisionNotFound"), "missing", "org/model@", 1),
        (refused(500, ""), "unknown", "would be fetched", 0),
        (down, "unknown", "offline (Name or service not known); would be fetched", 0),
    ],
)
def test_a_model_of_the_hub(
    w2s_doctor: Type, tiny: Path, hub: Answer, answer: Answer, status: str, said: str, code: int
) -> None:
    hub(answer)
    done = w2s_doctor(tiny, HUB_MODEL)
    assert line(done.stdout, "weak").startswith(status)
    assert said in line(done.stdout, "weak")
    assert done.exit_code == code
    assert line(done.stdout, "weak memory").startswith("unknown")


def test_a_model_of_the_hub_offline_is_unknown_and_says_why(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, HUB_MODEL)
    assert done.exit_code == 0
    assert line(done.stdout, "weak").startswith("unknown")
    assert "HF_HUB_OFFLINE=0 hf download org/model --revision 0123456789abcdef" in line(done.stdout, "weak")


@pytest.mark.parametrize("name", ["org/model", "a/b/c@main", "'@x'", "org/model@", "o rg/m--x..y@main"])
def test_a_name_that_is_none_is_told_without_asking(
    w2s_doctor: Type, tiny: Path, hub: Answer, name: str
) -> None:
    hub(lambda request: refused(404, "")(request) if request.method == "HEAD" else pytest.fail("asked"))
    done = w2s_doctor(tiny, f"weak={name}")
    assert done.exit_code == 1
    assert line(done.stdout, "weak").startswith("missing")


def test_a_model_in_the_cache_is_looked_at_there(w2s_doctor: Type, tiny: Path) -> None:
    snapshot = Path(constants.HF_HUB_CACHE) / "models--org--model" / "snapshots" / "0123456789abcdef"
    shutil.copytree(BASES / "llama", snapshot)
    done = w2s_doctor(tiny, HUB_MODEL)
    assert done.exit_code == 0
    assert f"{snapshot}: 458 k parameters" in line(done.stdout, "weak")
    (snapshot / "model.safetensors").unlink()
    done = w2s_doctor(tiny, HUB_MODEL)
    assert "would be fetched, about 916 kB" in line(done.stdout, "weak")
    assert line(done.stdout, "weak sft").startswith("ok")


# Data


def test_data_of_a_hub_is_looked_for_in_its_cache(w2s_doctor: Type, tiny: Path, tmp_path: Path) -> None:
    task = {"name": "gsm8k", "options": {"revision": "0123456789abcdef"}}
    config = write_experiment(tmp_path, task=task)
    done = w2s_doctor(config)
    assert "openai/gsm8k@0123456789ab not in the cache" in line(done.stdout, "data")
    assert done.exit_code == 0
    kept = Path(constants.HF_HUB_CACHE) / "datasets--openai--gsm8k" / "snapshots" / "0123456789abcdef"
    kept.mkdir(parents=True)
    assert line(w2s_doctor(config).stdout, "data").startswith("ok")


def test_data_of_files(w2s_doctor: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    config = write_experiment(tmp_path, task={"name": "gsm8k", "options": {"data": str(folder)}})
    done = w2s_doctor(config)
    assert done.exit_code == 1
    assert "there is no such folder" in line(done.stdout, "data")
    folder.mkdir()
    done = w2s_doctor(config)
    assert "no train_1.jsonl" in line(done.stdout, "data")
    for split in ("train_1", "train_2", "test"):
        row = {"question": f"How many, {split}?", "answer": "Two and two.\n#### 4"}
        (folder / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "gone.jsonl").symlink_to(folder / "nowhere")
    done = w2s_doctor(config)
    assert done.exit_code == 0, done.stdout
    assert "train_1 1, train_2 1, test 1" in line(done.stdout, "data")
    moved = folder.rename(tmp_path / "moved")
    (moved / "test.jsonl").write_text("{")
    assert "test.jsonl, line 1" in line(w2s_doctor(config, "--data", moved).stdout, "data")
    moved.rename(folder)
    monkeypatch.setattr("w2s_core.doctor.READ_AT_ONCE", 1)
    assert "not read here" in line(w2s_doctor(config).stdout, "data")


def test_an_unknown_task_or_option_is_a_line(w2s_doctor: Type, tmp_path: Path) -> None:
    for task in ({"name": "gsm9k"}, {"name": "mini", "options": {"trian_1": 3}}):
        done = w2s_doctor(write_experiment(tmp_path, task=task))
        assert done.exit_code == 1
        assert "did you mean" in line(done.stdout, "data")


# Memory and disk


def on(monkeypatch: pytest.MonkeyPatch, device: Device | None) -> None:
    monkeypatch.setattr(doctor_command, "find_device", lambda wanted: device)


def test_a_smaller_micro_batch_is_named_and_then_fits(
    w2s_doctor: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_experiment(tmp_path, sft={"learning_rate": 1e-3, "max_steps": 2, "batch_size": 64})
    on(monkeypatch, Device("cpu", "1 core", 1_400_000_000))
    done = w2s_doctor(config)
    assert done.exit_code == 0
    found = line(done.stdout, "strong sft")
    assert found.startswith("unknown")
    command, number = found.split(" -> ")[1].split()
    assert 1 < int(number) < 64
    assert line(w2s_doctor(config, command, number).stdout, "strong sft").startswith("ok")
    assert line(w2s_doctor(config, command, int(number) * 2).stdout, "strong sft").startswith("unknown")


@pytest.mark.parametrize("batch", [1, 7, 12, 36, 97])
def test_a_batch_is_parted_into_equal_parts(batch: int) -> None:
    assert doctor_memory._divisors(batch) == [one for one in range(1, batch + 1) if batch % one == 0]


def test_a_model_that_does_not_fit_at_all_is_missing_memory(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Device("cpu", "1 core", 500_000_000))
    done = w2s_doctor(tiny)
    assert done.exit_code == 1
    found = line(done.stdout, "strong dpo")
    assert "one row: up to" in found
    total = float(found.split("up to ")[1].split(" MB")[0])
    parts = [float(one.split()[-2]) for one in found.split("(")[1].split(")")[0].split(", ")]
    assert 0.9 * total < sum(parts) < 1.05 * total  # parts under a hundredth are not listed


def test_more_workers_take_more_memory(w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Device("cpu", "8 cores", 3_000_000_000))
    assert w2s_doctor(tiny).exit_code == 0
    assert w2s_doctor(tiny, "--workers", 8).exit_code == 1


def test_a_gpu_holds_half_precision_and_draws_as_many_as_fit(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Device("cuda", "a small GPU", 60_000_000))
    found = line(w2s_doctor(tiny).stdout, "strong sampling")
    assert found.startswith("ok")
    drawn = int(found.split("responses")[0].split()[-1])
    assert drawn in {2**n for n in range(8)}
    on(monkeypatch, Device("cuda", "a large GPU", 80_000_000_000))
    assert "256 responses" in line(w2s_doctor(tiny).stdout, "strong sampling")
    assert "process" not in line(w2s_doctor(tiny).stdout, "strong sft")


def test_a_gpu_that_is_asked_for_and_not_here(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, None)
    done = w2s_doctor(tiny, "--device", "cuda")
    assert done.exit_code == 1
    assert "sees no GPU" in line(done.stdout, "device")


def test_a_micro_batch_that_does_not_divide_is_what_run_refuses_too(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, "--micro-batch", 3)
    assert done.exit_code == 1
    assert "does not divide the batch of 4 rows" in line(done.stdout, "strong sft")


def test_a_response_longer_than_the_context(w2s_doctor: Type, tiny: Path) -> None:
    done = w2s_doctor(tiny, "max_new_tokens=640")
    assert done.exit_code == 1
    assert "context of 640 tokens" in line(done.stdout, "weak sampling")


def test_ray_is_needed_only_where_it_is_asked_for(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = doctor_command.machine_checks
    monkeypatch.setattr("w2s_core.doctor._version", lambda name: None if name == "ray" else "1.0")
    monkeypatch.setattr("w2s_core.doctor.library_checks", lambda: iter(()))
    assert real is doctor_command.machine_checks
    assert w2s_doctor(tiny).exit_code == 0
    done = w2s_doctor(tiny, "--executor", "ray")
    assert done.exit_code == 1
    assert line(done.stdout, "ray").startswith("missing")


def test_vllm_is_needed_only_where_it_is_asked_for(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def without(name: str) -> str:
        if name.startswith("vllm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    def with_vllm(name: str) -> str:
        return "0.9" if name == "vllm" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert w2s_doctor(tiny).exit_code == 0
    done = w2s_doctor(tiny, "engine=vllm")
    assert done.exit_code == 1
    assert line(done.stdout, "vllm").startswith("missing")
    monkeypatch.setattr(importlib.metadata, "version", with_vllm)
    assert w2s_doctor(tiny, "engine=vllm").exit_code == 0


def test_a_full_disk(w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "free_disk", lambda folder: 1_000_000)
    done = w2s_doctor(tiny)
    assert done.exit_code == 1
    assert line(done.stdout, "store").startswith("missing")


@pytest.mark.parametrize("changes", [(), ("controls=true", "stage1.iterations=3", "stage2.methods=[dpo]")])
def test_the_trainings_are_those_of_the_graph_that_runs(tiny: Path, changes: tuple[str, ...]) -> None:
    from w2s_core.engine.step import topological
    from w2s_core.runs import build_graph

    x = load_experiment(tiny, changes)
    steps = topological(build_graph(x).targets.values())
    trainings, samples = memory.planned(x)
    real = Counter(str(one.params.get("method", "sft")) for one in steps if one.name in ("sft", "prefer"))
    assert Counter(one.method for one in trainings) == real
    assert len(samples) == sum(one.name == "sample" for one in steps)
    assert [one.ranks for one in trainings if one.method == "dpo"] == [(32, 32)]
    assert [one.method for one in trainings if one.side == "weak"] == ["sft"]


@pytest.mark.slow
def test_the_store_of_a_run_is_no_larger_than_said(w2s_doctor: Type, tiny: Path, tmp_path: Path) -> None:
    from w2s_core import runs
    from w2s_core.engine import Store

    x = load_experiment(tiny)
    graph, root = runs.build_graph(x), tmp_path / "made"
    assert not runs.run_experiment(graph, Store(root), name="tiny", command=[]).failed
    real = sum(one.stat().st_size for one in root.rglob("adapter_model.safetensors"))
    trainings, _ = memory.planned(x)
    shapes = {
        side: memory.Shape.of(memory.read_config(BASES / name), name)
        for side, name in (("weak", "llama"), ("strong", "strong"))
    }
    said = sum(
        memory.lora_parameters(shapes[one.side], rank) * memory.FLOAT32
        for one in trainings
        for rank in one.ranks
    )
    assert said <= real < 1.1 * said  # the rest are headers


def test_no_line_tells_more_than_it_should(
    w2s_doctor: Type, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "5ecret")
    monkeypatch.setenv("HF_TOKEN", "hf_5ecret")
    done: Any = w2s_doctor(tiny)
    assert "5ecret" not in done.output
