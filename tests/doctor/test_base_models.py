"""`w2s doctor CONFIG` on base models, in folders and on the hub: what a run would refuse is a line with a command."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.doctor.conftest import Answer, Type, down, missing, model_page, refused
from tests.doctor.measured import make_base
from tests.doctor.test_machine import line
from tests.tiny import BASES
from w2s_core.doctor import memory

HUB_MODEL = "weak=org/model@0123456789abcdef"


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


def break_tensors(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, base / "model.safetensors", {"format": "pt"})


def break_code(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    named = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    (base / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": named}))


def break_tokenizer(base: Path) -> None:
    (base / "tokenizer.json").unlink()


def break_eos(base: Path) -> None:
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": None}))


def break_vocabulary(base: Path) -> None:
    content = json.loads((base / "tokenizer.json").read_text())
    for entry in content["added_tokens"]:
        entry["id"] += 1000 * (entry["content"] == "<eos>")
    (base / "tokenizer.json").write_text(json.dumps(content))


BREAKS: list[tuple[Callable[[Path], None], str, str]] = [
    (shutil.rmtree, "weak", "no such model folder"),
    (break_config, "weak", "config.json is missing"),
    (break_json, "weak", "not valid JSON"),
    (break_pickle, "weak", "is a pickle"),
    (break_weights, "weak", "no weights"),
    (break_download, "weak", "damaged one"),
    (break_shards, "weak", "1 of 2 shards missing"),
    (break_index, "weak", "should be a .safetensors in this folder"),
    (break_tensors, "weak", "lacks 1 tensors, model.layers.1.mlp.up_proj.weight"),
    (break_code, "weak", "needs Python code of its own"),
    (break_tokenizer, "weak tokenizer", "no tokenizer"),
    (break_eos, "weak tokenizer", "no EOS token"),
    (break_vocabulary, "weak tokenizer", "EOS <eos> has the number 1000, but the model only 156 embeddings"),
]


@pytest.mark.parametrize(("damage", "topic", "message"), BREAKS, ids=[row[0].__name__ for row in BREAKS])
def test_a_model_that_cannot_be_used_is_one_line_with_a_command(
    w2s_doctor: Type, tiny: Path, copied: Path, damage: Callable[[Path], None], topic: str, message: str
) -> None:
    assert w2s_doctor(tiny, f"weak={copied}").exit_code == 0
    damage(copied)
    done = w2s_doctor(tiny, f"weak={copied}")
    assert done.exit_code == 1
    (only,) = missing(done)
    assert only == line(done.stdout, topic)
    assert message in only
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
    assert "no layers named q_proj" in line(done.stdout, "weak layers")
    assert "weak layers" not in w2s_doctor(tiny, f"weak={base}", "weak_sft.tuning=full").stdout
    named = w2s_doctor(tiny, f"weak={base}", "weak_sft.lora_targets=[q_proj, c_attn]")
    assert "no layers named q_proj, which" in line(named.stdout, "weak layers")


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
        words = shlex.split(command)
        if weak.startswith("org/"):  # no revision is written so
            assert words == ["weak=org/model@commit"]
        else:
            assert words[:2] == ["hf", "download"]
            assert words[-1].endswith(evil)


# Models of the hub


@pytest.mark.parametrize(
    ("answer", "status", "message", "code"),
    [
        (model_page(16_400_000_000), "ok", "would be fetched: 16.4 GB", 0),
        (model_page(10**15), "missing", "would be fetched, ", 1),
        (model_page(10**9, gated="manual"), "missing", "gated and there is no token", 1),
        (model_page(10**9, name="pytorch_model.bin"), "missing", "no safetensors", 1),
        (refused(404, "RepoNotFound"), "missing", "the hub shows no such model", 1),
        (refused(404, "RevisionNotFound"), "missing", "no such revision of it", 1),
        (refused(403, "GatedRepo"), "missing", "accept them on its page", 1),
        (refused(500, ""), "unknown", "would be fetched", 0),
        (down, "unknown", "offline (Name or service not known); would be fetched", 0),
    ],
)
def test_a_model_of_the_hub(
    w2s_doctor: Type, tiny: Path, hub: Answer, answer: Answer, status: str, message: str, code: int
) -> None:
    hub(answer)
    done = w2s_doctor(tiny, HUB_MODEL)
    assert line(done.stdout, "weak").startswith(status)
    assert message in line(done.stdout, "weak")
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
