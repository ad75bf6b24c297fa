"""Sizes that are read from headers and configs, against the models themselves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.doctor.measured import FAMILIES, make_base
from tests.tiny import BASES
from w2s_core.doctor import memory
from w2s_core.errors import UserError
from w2s_core.training.settings import TARGETS


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {name: make_base(folder / name, name) for name in FAMILIES}


@pytest.fixture
def llama(bases: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(bases["llama"], tmp_path / "llama"))


def weights(folder: Path) -> memory.Weights:
    return memory.read_weights(folder, memory.read_config(folder))


def shape(folder: Path) -> memory.Shape:
    return memory.Shape.of(memory.read_config(folder), folder)


@pytest.mark.parametrize("name", sorted(folder.name for folder in BASES.iterdir() if folder.is_dir()))
def test_the_shipped_bases_have_the_parameters_that_their_headers_say(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(BASES / name)
    real = sum(parameter.numel() for parameter in model.parameters())
    assert weights(BASES / name).parameters == memory.count_parameters(BASES / name) == real


@pytest.mark.parametrize("family", FAMILIES)
def test_headers_and_config_alike_give_the_parameters_of_every_family(
    bases: dict[str, Path], family: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases[family])
    real = sum(parameter.numel() for parameter in model.parameters())
    assert weights(bases[family]).parameters == memory.count_parameters(bases[family]) == real


def test_published_sizes_of_models_that_nobody_has_to_fetch(tmp_path: Path) -> None:
    """Llama-2-7b and Mistral-7B-v0.1, as their authors' checkpoints have them."""
    fields = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
    llama = fields | {"model_type": "llama", "intermediate_size": 11008}
    mistral = fields | {"model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8}
    for config, known in ((llama, 6_738_415_616), (mistral, 7_241_732_096)):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert memory.count_parameters(tmp_path) == known


def test_shards_count_once_and_a_missing_one_is_named(llama: Path) -> None:
    before = weights(llama)
    AutoModelForCausalLM.from_pretrained(llama).save_pretrained(llama, max_shard_size="100KB")
    (llama / "model.safetensors").unlink()
    shards = sorted(llama.glob("model-*.safetensors"))
    assert len(shards) > 2
    sharded = weights(llama)
    assert (sharded.parameters, sharded.names) == (before.parameters, before.names)
    shutil.copy(
        shards[0], llama / "consolidated.safetensors"
    )  # not in the index: transformers does not load it
    assert weights(llama).parameters == before.parameters
    shards[1].unlink()
    with pytest.raises(UserError, match=f"1 of {len(shards)} shards missing, {shards[1].name}"):
        weights(llama)


def test_a_tied_matrix_that_a_file_holds_twice_counts_once(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bases["qwen2"], tmp_path / "qwen2"))
    before = weights(folder).parameters
    tensors = load_file(folder / "model.safetensors")
    embedding = tensors["model.embed_tokens.weight"]
    frequencies = torch.ones(8)
    extra = {"lm_head.weight": embedding.clone(), "model.layers.0.self_attn.rotary_emb.inv_freq": frequencies}
    save_file(tensors | extra, folder / "model.safetensors", metadata={"format": "pt"})
    assert weights(folder).parameters == before
    config = memory.read_config(folder) | {"tie_word_embeddings": False}
    assert memory.read_weights(folder, config).parameters == before + embedding.numel()


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(llama: Path, keep: int) -> None:
    path = llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="fetch or save it again") as caught:
        weights(llama)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 8,
    "vocab_size": 9,
}
ENTRY = st.fixed_dictionaries({"dtype": st.just("F32") | JSON, "shape": JSON, "data_offsets": JSON}) | JSON


@given(header=st.dictionaries(st.text(max_size=6), ENTRY, max_size=3) | JSON, body=st.binary(max_size=16))
def test_no_header_ends_in_anything_but_a_count_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, header: Any, body: bytes
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    assert count_or_line(lambda: memory.read_weights(folder, {}).parameters)


@given(changes=st.dictionaries(st.sampled_from([*FIELDS, "head_dim", "text_config"]), JSON, max_size=4))
def test_no_config_ends_in_anything_but_a_shape_or_one_line(changes: dict[str, Any]) -> None:
    assert count_or_line(lambda: memory.Shape.of(FIELDS | changes, "config.json").layers)


def count_or_line(work: Callable[[], int]) -> bool:
    """Whether `work` gives a number, or refuses with a single line."""
    try:
        return work() >= 0
    except UserError as error:
        return "\n" not in str(error)


def test_a_config_that_would_take_hours_to_build_is_refused(llama: Path) -> None:
    (llama / "config.json").write_text(json.dumps(memory.read_config(llama) | {"num_hidden_layers": 10**9}))
    with pytest.raises(UserError, match="no model has more than 500"):
        memory.count_parameters(llama)


def test_code_of_a_checkpoint_is_not_run_to_count_it(llama: Path) -> None:
    marker = llama / "ran"
    (llama / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass C: pass\n")
    config = memory.read_config(llama) | {"model_type": "odd", "auto_map": {"AutoConfig": "evil.C"}}
    (llama / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="no model that transformers can build"):
        memory.count_parameters(llama)
    assert not marker.exists()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rank", [1, 8])
def test_an_adapter_has_as_many_parameters_as_peft_gives_it(
    bases: dict[str, Path], family: str, rank: int
) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases[family])
    tuned = get_peft_model(model, LoraConfig(r=rank, target_modules=list(TARGETS), task_type="CAUSAL_LM"))
    real = sum(parameter.numel() for parameter in tuned.parameters() if parameter.requires_grad)
    assert memory.lora_parameters(shape(bases[family]), rank) == real


@pytest.mark.parametrize("family", [*FAMILIES])
def test_the_cache_of_a_generation_is_as_large_as_said(bases: dict[str, Path], family: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases[family]).eval()
    ids = torch.randint(3, 100, (3, 7))
    output = model.generate(
        ids, max_new_tokens=9, min_new_tokens=9, do_sample=False, return_dict_in_generate=True
    )
    tensors = [tensor for layer in output.past_key_values.layers for tensor in (layer.keys, layer.values)]
    real = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert (
        memory.kv_cache(shape(bases[family]), 3 * (7 + 9 - 1), memory.FLOAT32) == real
    )  # the last is never read


def test_a_config_that_leaves_out_what_follows_from_the_rest_has_the_same_shape(
    bases: dict[str, Path],
) -> None:
    config = memory.read_config(bases["llama"])
    short = {key: value for key, value in config.items() if key != "head_dim"}
    assert memory.Shape.of(short, "config.json") == memory.Shape.of(config, "config.json")
    assert memory.Shape.of({"text_config": config}, "config.json") == memory.Shape.of(config, "config.json")


@pytest.mark.parametrize("experts", ["num_local_experts", "num_experts"])
def test_a_mixture_of_experts_is_not_estimated(bases: dict[str, Path], experts: str) -> None:
    with pytest.raises(UserError, match="mixture of experts"):
        memory.Shape.of(memory.read_config(bases["llama"]) | {experts: 8}, "config.json")
