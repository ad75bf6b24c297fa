"""`w2s import-model`: a GGUF that the gguf package writes here, and what is refused of one."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from tests.families.checkpoints import FAMILIES, SIZE, write_checkpoint
from w2s_core.cli.main import w2s
from w2s_core.errors import UserError
from w2s_core.models import base_ref, importing

needs_gguf = pytest.mark.skipif(
    importing.importlib.util.find_spec("gguf") is None, reason="the extra gguf is not installed"
)
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}  # fmt: skip
PRE = {"smollm2": "smollm", "llama-3": "llama-bpe"}


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The order of rows that llama.cpp's rotary embedding wants."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, family: str = "smollm2", **changed: Any) -> tuple[Any, Any]:
    """A tiny Llama in GGUF, and the model and tokenizer that it was written from."""
    import gguf

    tokenizer = FAMILIES[family].tokenizer()
    torch.manual_seed(0)
    options = FAMILIES[family].options | changed.get("config", {})
    model = LlamaForCausalLM(LlamaConfig(**SIZE, **options, vocab_size=len(tokenizer)))
    config = model.config
    writer = gguf.GGUFWriter(path, changed.get("architecture", "llama"))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_vocab_size(len(tokenizer))
    for name, value in changed.get("fields", {}).items():
        kind = {str: "string", int: "uint32", float: "float32"}[type(value)]
        getattr(writer, f"add_{kind}")(f"llama.{name}", value)
    for name, values in changed.get("tensors", {}).items():
        writer.add_tensor(name, numpy.array(values, dtype=numpy.float32))
    add_tokenizer(writer, tokenizer, changed.get("pre", PRE[family]), changed)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if "q_proj" in name or "k_proj" in name:
            weight = permuted(
                weight, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            )
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        if name not in changed.get("without", ()):
            scale = changed.get("scale", {}).get(name, 1.0)
            writer.add_tensor(name, (weight * scale).numpy().astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def add_tokenizer(writer: Any, tokenizer: Any, pre: str, changed: dict[str, Any]) -> None:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens) | {
        str(token) for token in tokenizer.added_tokens_decoder.values() if token.special
    }
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_eos_token_id(changed.get("eos", tokenizer.eos_token_id))
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_chat_template(changed.get("chat", "{{ messages[0]['content'] }}"))


def imported(source: Path, out: Path, *options: str) -> str:
    done = CliRunner().invoke(w2s, ["import-model", str(source), str(out), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@needs_gguf
@pytest.mark.parametrize("family", PRE)
def test_a_gguf_gives_the_model_and_tokenizer_that_it_was_written_from(tmp_path: Path, family: str) -> None:
    from w2s_core.models import folder_tokenizer

    model, tokenizer = write_gguf(tmp_path / "model.gguf", family)
    line = imported(tmp_path / "model.gguf", tmp_path / "out")
    assert base_ref(tmp_path / "out") in line
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([[1, 5, 9, 300]])
    assert torch.allclose(loaded(ids).logits, model(ids).logits, atol=1e-5)
    assert loaded.config.tie_word_embeddings == model.config.tie_word_embeddings
    again = folder_tokenizer(tmp_path / "out")
    for text in ("a\n\n12", "  12", "#### 4207", "12 + 30 = 42\n#### 42", "x<|im_end|>"):
        assert again(text).input_ids == tokenizer(text).input_ids
    assert again.chat_template == "{{ messages[0]['content'] }}"
    assert (
        json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
        == again.eos_token_id
    )


LLAMA_3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


def divisors(width: int = SIZE["hidden_size"] // SIZE["num_attention_heads"]) -> list[float]:
    """What llama.cpp's converter writes for LLAMA_3, by wavelength in tokens."""
    found = []
    for i in range(0, width, 2):
        wavelength = 2 * math.pi * 500_000.0 ** (i / width)
        share = min(max((8192 / wavelength - 1.0) / (4.0 - 1.0), 0.0), 1.0)
        found.append(1 / ((1 - share) / 32.0 + share))
    return found


@needs_gguf
def test_the_rotary_frequencies_of_llama_3_are_put_back(tmp_path: Path) -> None:
    assert len(set(divisors())) > 2  # some frequencies are kept, some divided, some in between
    model, _ = write_gguf(
        tmp_path / "model.gguf", "llama-3",
        config={"rope_parameters": LLAMA_3, "max_position_embeddings": 131_072},
        tensors={"rope_freqs.weight": divisors()},
        fields={"rope.dimension_count": SIZE["hidden_size"] // SIZE["num_attention_heads"]},
    )  # fmt: skip
    imported(tmp_path / "model.gguf", tmp_path / "out")
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "out")
    far = {
        "input_ids": torch.tensor([[1, 5, 9, 300]]),
        "position_ids": torch.tensor([[0, 3_000, 30_000, 130_000]]),
    }
    assert torch.allclose(loaded(**far).logits, model(**far).logits, atol=1e-5)
    loaded.model.rotary_emb = type(loaded.model.rotary_emb)(LlamaConfig(**SIZE, rope_theta=500_000.0))
    assert not torch.allclose(loaded(**far).logits, model(**far).logits, atol=1e-4)  # the test can see it


@needs_gguf
@pytest.mark.parametrize(("window", "longest"), [(64, 64), (4096, 2048)])
def test_a_window_that_a_llama_has_not_ends_its_contexts(tmp_path: Path, window: int, longest: int) -> None:
    write_gguf(tmp_path / "model.gguf", fields={"attention.sliding_window": window})
    imported(tmp_path / "model.gguf", tmp_path / "out")
    assert LlamaConfig.from_pretrained(tmp_path / "out").max_position_embeddings == longest


@needs_gguf
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"tensors": {"rope_freqs.weight": [1.0] * 5}},
            "5 divisors (rope_freqs.weight) of 4 rotary frequencies",
        ),
        (
            {"fields": {"attention.sliding_window": "x"}},
            "attention.sliding_window is 'x', and should be a number",
        ),
        ({"fields": {"rope.scaling.type": "yarn"}}, "its rotary frequencies (scaling 'yarn') would be lost"),
        ({"tensors": {"rope_factors_long.weight": [1.0] * 4}}, "(scaling 'longrope') would be lost"),
        ({"tensors": {"rope_freqs.weight": [1.0, 2.0, 3.0, 4.0]}}, "(scaling 'none') would be lost"),
        (
            {"fields": {"rope.dimension_count": 4}},  # of a head, by transformers
            "q_proj.weight is (32, 32), where its configuration has (16, 32)",
        ),
        (
            {"fields": {"attn_logit_softcapping": 50.0}},
            "attn_logit_softcapping is 50.0 in the file, and None",
        ),
        ({"architecture": "strange"}, "architecture 'strange', which transformers cannot read"),
        ({"pre": "poro-chat"}, "splits text by the rule 'poro-chat'"),
        ({"pre": "default"}, "splits text by the rule 'default'"),
        ({"without": ("blk.1.ffn_up.weight",)}, "lacks 1 tensors, model.layers.1.mlp.up_proj.weight"),
        ({"scale": {"token_embd.weight": 0.0}}, "its head is all zeros"),
        ({"scale": {"blk.0.ffn_up.weight": float("nan")}}, "holds numbers that are not finite"),
    ],
)
def test_a_gguf_that_would_be_another_model_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    write_gguf(tmp_path / "model.gguf", **changed)
    with pytest.raises(UserError) as caught:
        importing.import_model(tmp_path / "model.gguf", tmp_path / "out", "float32")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]  # nothing half made


@needs_gguf
def test_a_cut_off_gguf(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    content = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="model.gguf"):
        importing.import_model(tmp_path / "model.gguf", tmp_path / "out", "float32")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_folder_is_saved_in_the_precision_asked_for(tmp_path: Path, precision: str) -> None:
    source = write_checkpoint("qwen-3", tmp_path / "source")
    imported(source, tmp_path / "out", "--precision", precision)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {getattr(torch, precision)}


def cut_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def lose_tensor(folder: Path) -> None:
    sorted(folder.glob("*.safetensors"))[0].unlink()


@pytest.mark.parametrize(
    ("damage", "message"), [(cut_config, "config.json is missing"), (lose_tensor, "cannot be loaded")]
)
def test_a_damaged_folder(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    source = write_checkpoint("qwen-2", tmp_path / "source")
    damage(source)
    with pytest.raises(UserError, match=message):
        importing.import_model(source, tmp_path / "out", "float32")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="there is something of that name already"):
        importing.import_model(tmp_path, tmp_path / "out", "float32")


def test_without_the_extra_a_gguf_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package gguf"):
        importing.read_gguf(tmp_path / "model.gguf")
