"""Whole trainings: the artifact, determinism, micro-batches, checks at run time, silence."""

import gc
import json
import math
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny import make_artifact, make_base, pairs, rows_for, sums
from w2s_core.errors import StopBranch, UserError
from w2s_core.models import load_model, resident
from w2s_core.rows import read_json
from w2s_core.training import Site, TrainSettings, core, train
from w2s_core.training.trainers import DPO, SFT

Start = tuple[Path, dict[str, Path]]
METHODS = ("sft", "dpo", "orpo")


def settings(method: str = "sft", **change: Any) -> TrainSettings:
    base = {
        "method": method,
        "learning_rate": 1e-2,
        "batch_size": 8,
        "epochs": 1,
    }
    if change.get("tuning") != "full":
        base |= {"lora_r": 4, "lora_alpha": 8}
    return TrainSettings(**base | change)  # type: ignore[arg-type]


def run(start: Start, folder: Path, rows: list[Any], chosen: TrainSettings, **extra: Any) -> dict[str, Any]:
    """Train into folder/out with scratch in folder/work."""
    (folder / "out").mkdir(parents=True)
    progress = extra.pop("progress", None)
    site = Site(start[1], folder / "out", folder / "work", **extra)
    return train(start[0], rows, chosen, site, progress)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()
    }


@pytest.fixture(scope="module")
def tuned(start: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An SFT result, its folder and summary."""
    folder = tmp_path_factory.mktemp("tuned")
    return folder / "out", run(start, folder, sums(64), settings(epochs=4))


def test_the_result_is_a_model_artifact_with_its_log(start: Start, tuned: Any) -> None:
    out, summary = tuned
    assert set(files(out)) == {
        "model.json",
        "training.json",
        "adapters/0/adapter_config.json",
        "adapters/0/adapter_model.safetensors",
    }
    assert read_json(out / "model.json") == {"base": next(iter(start[1])), "adapters": ["adapters/0"]}
    record = read_json(out / "training.json")
    assert (record["method"], record["steps"], record["tokens"]) == ("sft", 32, summary["tokens"])
    assert [entry["step"] for entry in record["log"]] == [1, 10, 20, 30, 32]
    assert {"loss", "learning_rate", "grad_norm", "lengths/completion"} <= set(record["log"][0])
    assert record["log"][-1]["loss"] < 0.7 * record["log"][0]["loss"]
    assert summary["loss_last"] == record["log"][-1]["loss"]
    assert (summary["rows"], summary["dropped_long"], summary["batch_size"]) == (64, 0, 8)
    assert summary["precision"] == "float32"


@pytest.mark.parametrize("method", METHODS)
def test_a_training_leaves_its_model_to_be_freed(
    start: Start, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The libraries' objects are set apart from garbage collection; no model may be among them."""
    assert gc.get_freeze_count() > 100_000, "else each training looks through the libraries for garbage"
    loaded: list[weakref.ref[Any]] = []

    def load(*args: Any, **options: Any) -> Any:
        model, tokenizer = load_model(*args, **options)
        loaded.append(weakref.ref(model))
        return model, tokenizer

    monkeypatch.setattr(core, "load_model", load)
    run(start, tmp_path, sums(16) if method == "sft" else pairs(16), settings(method))
    resident.forget()
    gc.collect()
    assert loaded
    assert all(model() is None for model in loaded)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_same_training_has_the_same_bytes(start: Start, tmp_path: Path, method: str) -> None:
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        rows = sums(16) if method == "sft" else pairs(16)
        summary = run(start, tmp_path / name, rows, settings(method, epochs=1))
        assert summary["seconds"] > 0
        written.append(files(tmp_path / name / "out"))
    assert len(written[0]) >= 4
    assert written[0] == written[1]


def test_no_place_on_this_machine_is_written_into_the_result(start: Start, tuned: Any) -> None:
    config = read_json(tuned[0] / "adapters/0/adapter_config.json")
    assert config["base_model_name_or_path"] is None
    assert config["target_modules"] == sorted(config["target_modules"])
    for content in files(tuned[0]).values():
        assert str(start[0].parent).encode() not in content


def test_the_new_adapter_is_trained_on_top_of_the_merged_ones(
    start: Start, tuned: Any, tmp_path: Path
) -> None:
    summary = run((tuned[0], start[1]), tmp_path, pairs(32), settings("dpo", epochs=2))
    out = tmp_path / "out"
    assert read_json(out / "model.json")["adapters"] == ["adapters/0", "adapters/1"]
    inherited = files(tuned[0] / "adapters/0")
    assert files(out / "adapters/0") == inherited
    assert files(out / "adapters/1") != inherited
    # The first loss says that the reference is the tuned model, not its base: a policy that starts elsewhere has
    # another loss than ln 2.
    assert summary["loss_first"] == pytest.approx(math.log(2), abs=1e-5)
    log = read_json(out / "training.json")["log"]
    assert log[-1]["rewards/margins"] > log[0]["rewards/margins"] == pytest.approx(0.0, abs=1e-4)
    assert {"lengths/chosen", "lengths/rejected", "rewards/accuracies", "logps/chosen"} <= set(log[0])
    assert summary["rejected_tokens"] == 6.0

    def answer(folder: Path) -> Any:
        model, tokenizer = load_model(folder, start[1])
        ids = tokenizer("Question : Tom finds 1 .", return_tensors="pt").input_ids
        with torch.no_grad():
            return model(ids).logits

    assert not torch.allclose(answer(out), answer(tuned[0]), atol=1e-3)


@pytest.mark.parametrize("method", ["sft", "dpo", pytest.param("orpo", marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_bytes(start: Start, tmp_path: Path, method: str) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(hash(name))  # what went on in the process before must not matter
        run(start, tmp_path / name, rows_for(method, 10), settings(method, seed=seed, lora_dropout=0.1))
    first, again, other = (files(tmp_path / name / "out/adapters") for name in "abc")
    assert first == again
    assert first["0/adapter_model.safetensors"] != other["0/adapter_model.safetensors"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("micro", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_micro_batches_change_nothing_but_rounding(
    start: Start, tmp_path: Path, method: str, micro: int
) -> None:
    """22 rows in batches of 8: the last batch of 6 is cut into 4 and 2, which must not count alike."""
    rows = rows_for(method, 22)
    for name, size in (("whole", None), ("cut", micro)):
        run(start, tmp_path / name, rows, settings(method), micro_batch=size)
    whole, cut = (read_json(tmp_path / name / "out/training.json")["log"] for name in ("whole", "cut"))
    for one, other in zip(whole, cut, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("size", [3, 0])
def test_a_micro_batch_has_to_divide_the_batch(start: Start, tmp_path: Path, size: int) -> None:
    with pytest.raises(UserError, match=f"--micro-batch {size} does not divide the batch of 8"):
        run(start, tmp_path, sums(20), settings(), micro_batch=size)


def test_out_of_memory_says_what_to_change(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB ...")

    monkeypatch.setattr(SFT, "training_step", full)
    with pytest.raises(
        UserError, match="out of memory with 4 of a batch's 8 rows at once; set a smaller --micro-batch"
    ):
        run(start, tmp_path, sums(20), settings(), micro_batch=4)


def test_rows_beyond_the_models_context_are_left_out_and_counted(start: Start, tmp_path: Path) -> None:
    rows = sums(20)
    rows[3]["question"] = "Tom finds 1 . " * 40  # 160 tokens; the model has 128 positions
    summary = run(start, tmp_path, rows, settings(max_length=1024))
    assert (summary["rows"], summary["dropped_long"]) == (20, 1)


def test_nothing_to_train_on_stops_the_branch(start: Start, tmp_path: Path) -> None:
    with pytest.raises(StopBranch, match="sft: nothing to train on"):
        run(start, tmp_path, [], settings())
    assert files(tmp_path / "out") == {}


def test_a_learning_rate_that_breaks_training_is_named_and_nothing_is_written(
    start: Start, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"SFT training: the (loss|gradient) is (nan|inf) at step \d+ of 8"
    ) as caught:
        run(start, tmp_path, sums(64), settings(learning_rate=1e25, warmup_ratio=0.0))
    assert "learning rate 1e+25" in str(caught.value)
    assert "likely cause: the learning rate is too high" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "out") == {}


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = make_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    start = make_artifact(tmp_path / "model", base)
    with pytest.raises(UserError, match=r"nan at step 1 of 3 .* weights that are not finite .*up_proj"):
        run(start, tmp_path, sums(20), settings())


def test_a_reference_other_than_the_start_is_an_error(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = DPO.compute_ref_log_probs

    def wrong(self: Any, *args: Any) -> Any:
        chosen, rejected = right(self, *args)
        return chosen + 1.0, rejected

    monkeypatch.setattr(DPO, "compute_ref_log_probs", wrong)
    with pytest.raises(UserError, match=r"DPO's first loss is 0\.74\d+ instead of 0\.6931"):
        run(start, tmp_path, pairs(16), settings("dpo"))


def test_a_model_of_another_build_is_refused(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    base = make_base(tmp_path / "base")
    GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)).save_pretrained(base)
    with pytest.raises(UserError, match="gpt2 model has no layers named q_proj, k_proj"):
        run(make_artifact(tmp_path / "model", base), tmp_path, sums(4), settings())


@pytest.mark.parametrize("method", METHODS)
def test_training_is_silent_offline_and_keeps_to_its_folders(
    start: Start,
    tmp_path: Path,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    calls: list[Any] = []
    for name in ("CI", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", lambda *args: calls.append(args))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: calls.append(args) or [])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    told: list[tuple[int, int, str, str]] = []

    def progress(done: int, total: int, unit: str, note: str) -> None:
        told.append((done, total, unit, note))

    run(start, tmp_path / "run", rows_for(method, 24), settings(method), progress=progress)
    assert calls == []
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "here").iterdir()) == []
    assert files(tmp_path / "run/work") == {}
    if method == "dpo":
        assert told.pop(0) == (0, 3, "steps", "reference, 8 of 24 pairs")
        assert [one[0] for one in told[:2]] == [0, 0]
        del told[:2]
    assert [one[:3] for one in told] == [(1, 3, "steps"), (2, 3, "steps"), (3, 3, "steps")]
    assert told[-1][3].startswith("loss ")
    json.dumps(told)


@pytest.mark.parametrize("family", ["mistral", "qwen2", "gemma"])
@pytest.mark.slow
def test_other_families_train_too(tmp_path: Path, family: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    base = make_base(tmp_path / "base")
    shape = read_json(base / "config.json")
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = AutoConfig.for_model(
        family, **{name: shape[name] for name in kept}, num_key_value_heads=1, head_dim=16, eos_token_id=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    start = make_artifact(tmp_path / "model", base)
    for method in METHODS:
        summary = run(start, tmp_path / method, rows_for(method, 32), settings(method, epochs=4))
        assert summary["loss_last"] < summary["loss_first"]


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_trains_to_about_the_same_loss(start: Start, tmp_path: Path, method: str) -> None:
    summaries = {
        precision: run(
            start, tmp_path / precision, rows_for(method, 24), settings(method, epochs=3, precision=precision)
        )
        for precision in ("float32", "bfloat16")
    }
    exact, rough = summaries["float32"], summaries["bfloat16"]
    assert (exact["precision"], rough["precision"]) == ("float32", "bfloat16")
    assert rough["loss_last"] == pytest.approx(exact["loss_last"], rel=0.05)
    assert rough["loss_last"] != exact["loss_last"]
    assert files(tmp_path / "bfloat16/out/adapters").keys() == files(tmp_path / "float32/out/adapters").keys()
