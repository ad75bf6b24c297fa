"""Loading: what is merged is what PEFT computes; everything that can be wrong with a folder is said in one line."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from w2s_core.errors import UserError
from w2s_core.models import base_ref, load_model, load_tokenizer


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model with its tokenizer."""
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {"<unk>": 0, "<eos>": 1} | {str(digit): 2 + digit for digit in range(10)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>").save_pretrained(
        folder
    )
    return folder


@pytest.fixture
def base(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "base"))


def artifact(folder: Path, base: Path, adapters: int = 0) -> dict[str, Any]:
    """Write a model artifact over `base`; returns the bases to load it with."""
    folder.mkdir(exist_ok=True)
    ref = base_ref(base)
    names = [f"adapters/{number}" for number in range(adapters)]
    for number, name in enumerate(names):
        lora = LoraConfig(r=2, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
        torch.manual_seed(number)
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(folder / name)
    (folder / "model.json").write_text(json.dumps({"base": ref, "adapters": names}))
    return {ref: base}


def refusal(folder: Path, bases: dict[str, Any]) -> str:
    """The message with which loading is refused: always a single line."""
    with pytest.raises(UserError) as caught:
        load_model(folder, bases)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[2, 5, 3, 9, 4]])).logits


@pytest.mark.parametrize("count", [0, 1, 2])
def test_merged_equals_unmerged(count: int, base: Path, tmp_path: Path) -> None:
    bases = artifact(tmp_path / "artifact", base, count)
    merged, _ = load_model(tmp_path / "artifact", bases)
    unmerged = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    plain = logits(unmerged)
    for number in range(count):
        if number:  # PEFT computes one adapter on top: the ones before it are part of the weights
            unmerged = unmerged.merge_and_unload()
        unmerged = PeftModel.from_pretrained(unmerged, str(tmp_path / "artifact" / f"adapters/{number}"))
    torch.testing.assert_close(logits(merged), logits(unmerged), rtol=0, atol=1e-5)
    assert (logits(merged) - plain).abs().max() > 0.01 or count == 0
    assert merged.dtype == torch.float32
    assert not merged.training
    assert not any("lora" in name for name, _ in merged.named_parameters())


def test_half_precision_checkpoint_is_merged_in_float32(base: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16).save_pretrained(base)
    model, _ = load_model(tmp_path / "artifact", artifact(tmp_path / "artifact", base, 1))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


class TestBaseRef:
    def test_names_the_content_and_not_the_place(self, base: Path, original: Path, tmp_path: Path) -> None:
        (base / "README.md").write_text("Trained on a rainy day.")
        (base / "pretraining.json").write_text("{}")
        assert base_ref(base) == base_ref(str(original)) == base_ref(base.rename(tmp_path / "elsewhere"))

    @pytest.mark.parametrize(
        "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    )
    def test_every_file_that_matters_matters(self, name: str, base: Path) -> None:
        before = base_ref(base)
        content = (base / name).read_bytes()
        (base / name).write_bytes(content.replace(b"e", b"E", 1))
        os.utime(base / name, ns=(1, 1))
        assert base_ref(base) != before

    def test_of_generation_settings_only_the_end_tokens_matter(self, base: Path) -> None:
        names = []
        for settings in (
            {"eos_token_id": 1},
            {"eos_token_id": 1, "repetition_penalty": 1.1},
            {"eos_token_id": [1, 2]},
        ):
            (base / "generation_config.json").write_text(json.dumps(settings))
            names.append(base_ref(base))
        assert names[0] == names[1] != names[2]
        (base / "generation_config.json").write_text("{damaged")
        assert base_ref(base) not in names

    def test_a_changed_base_is_not_loaded_under_its_old_name(self, base: Path, tmp_path: Path) -> None:
        bases = artifact(tmp_path / "artifact", base)
        weights = load_file(base / "model.safetensors")
        save_file(
            {name: weight + 1 for name, weight in weights.items()},
            base / "model.safetensors",
            {"format": "pt"},
        )
        os.utime(base / "model.safetensors", ns=(1, 1))
        assert "changed since" in refusal(tmp_path / "artifact", bases)


class TestRefusals:
    def test_no_folder(self, tmp_path: Path) -> None:
        assert "no such model folder" in refusal(tmp_path / "nowhere", {})
        with pytest.raises(UserError, match="no such model folder"):
            base_ref(tmp_path / "nowhere")

    def test_not_an_artifact(self, tmp_path: Path) -> None:
        assert "model.json is missing" in refusal(tmp_path, {})

    @pytest.mark.parametrize(
        "content",
        [
            "{",
            "[]",
            '{"base": "x"}',
            '{"base": 1, "adapters": []}',
            '{"base": "x", "adapters": [1]}',
            '{"base": "x", "adapters": ["../a"]}',
            '{"base": "x", "adapters": ["/a"]}',
            '{"base": "x", "adapters": [""]}',
        ],
    )
    def test_damaged_artifact(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "model.json").write_text(content)
        assert str(tmp_path / "model.json") in refusal(tmp_path, {})

    def test_unknown_base(self, base: Path, tmp_path: Path) -> None:
        artifact(tmp_path / "artifact", base)
        message = refusal(tmp_path / "artifact", {"hub:other@1": "other"})
        assert base_ref(base) in message
        assert "known: hub:other@1" in message

    @pytest.mark.parametrize(
        ("lost", "said"),
        [
            ("config.json", "config.json is missing"),
            ("model.safetensors", "no weights"),
            ("tokenizer.json", "no tokenizer"),
        ],
    )
    def test_lost_file(self, lost: str, said: str, base: Path, tmp_path: Path) -> None:
        bases = artifact(tmp_path / "artifact", base)
        (base / lost).unlink()
        assert said in refusal(tmp_path / "artifact", bases)
        with pytest.raises(UserError, match=said):
            base_ref(base)

    def test_pickle_only(self, base: Path) -> None:
        (base / "model.safetensors").rename(base / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"pytorch_model\.bin is a pickle.*save_pretrained"):
            base_ref(base)

    def test_no_eos(self, base: Path, tmp_path: Path) -> None:
        config = json.loads((base / "tokenizer_config.json").read_text())
        (base / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": None}))
        bases = artifact(tmp_path / "artifact", base)
        assert "no EOS token" in refusal(tmp_path / "artifact", bases)
        with pytest.raises(UserError, match="no EOS token"):
            load_tokenizer(tmp_path / "artifact", bases)

    def test_damaged_tokenizer(self, base: Path, tmp_path: Path) -> None:
        (base / "tokenizer.json").write_text("{")
        assert "tokenizer cannot be loaded" in refusal(tmp_path / "a", artifact(tmp_path / "a", base))

    def test_truncated_weights(self, base: Path, tmp_path: Path) -> None:
        content = (base / "model.safetensors").read_bytes()
        (base / "model.safetensors").write_bytes(content[: len(content) // 2])
        assert "the model cannot be loaded" in refusal(tmp_path / "a", artifact(tmp_path / "a", base))

    def test_missing_tensors(self, base: Path, tmp_path: Path) -> None:
        weights = load_file(base / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, base / "model.safetensors", {"format": "pt"})
        message = refusal(tmp_path / "a", artifact(tmp_path / "a", base))
        assert "lacks 1 tensors, model.layers.1.mlp.up_proj.weight" in message

    def test_code_of_a_checkpoint_is_not_run(self, base: Path, tmp_path: Path) -> None:
        config = json.loads((base / "config.json").read_text())
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}}
        (base / "config.json").write_text(json.dumps(config))
        (base / "c.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
        refusal(tmp_path / "a", artifact(tmp_path / "a", base))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("lost", ["adapter_config.json", "adapter_model.safetensors"])
    def test_incomplete_adapter(self, lost: str, base: Path, tmp_path: Path) -> None:
        bases = artifact(tmp_path / "artifact", base, 1)
        (tmp_path / "artifact/adapters/0" / lost).unlink()
        assert f"{lost} is missing" in refusal(tmp_path / "artifact", bases)

    def test_damaged_adapter(self, base: Path, tmp_path: Path) -> None:
        bases = artifact(tmp_path / "artifact", base, 1)
        (tmp_path / "artifact/adapters/0/adapter_model.safetensors").write_bytes(b"short")
        assert "cannot be merged" in refusal(tmp_path / "artifact", bases)


def test_tokenizer_alone(base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tmp_path / "artifact", artifact(tmp_path / "artifact", base))
    assert tokenizer("1 2").input_ids == [3, 4]
