"""What loading a base model can reach is in its name, or refused in one line: nothing is computed under a wrong key."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from tests.tiny import BASES
from w2s_core import files
from w2s_core.errors import UserError
from w2s_core.models import base_ref, open_base

OPENED: list[str] = []


def record_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        OPENED.append(os.path.realpath(arguments[0]))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BASES / "llama", tmp_path / "base"))


def name_and_open(base: Path, *, code: bool = False) -> None:
    ref = base_ref(base, code=code)
    open_base(ref, {ref: base})


def refusal(base: Path, *, code: bool = False) -> str:
    """The one line with which naming or opening refuses."""
    with pytest.raises(UserError) as caught:
        name_and_open(base, code=code)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def change(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | fields))


def shard(base: Path, place: str) -> Path:
    """Move the weights to a place that an index names."""
    weights = Path(os.path.normpath(base / place))
    weights.parent.mkdir(exist_ok=True)
    names = list(load_file(base / "model.safetensors"))
    (base / "model.safetensors").rename(weights)
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    return weights


def halve(weights: Path) -> None:
    tensors = {name: tensor / 2 for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})


@pytest.mark.parametrize("place", ["../out/w.safetensors", "sub/w.safetensors", "w.bin"])
def test_an_index_that_names_a_file_elsewhere_is_refused(base: Path, place: str) -> None:
    shutil.copy(base / "model.safetensors", base / "other.safetensors")  # else there would be no weights
    shard(base, place)
    message = refusal(base)
    assert f"model.safetensors.index.json: 'weight_map' names '{place}'" in message
    assert "should be a .safetensors in this folder" in message


def test_halved_shards_have_another_name(base: Path) -> None:
    weights = shard(base, "part.safetensors")
    before = base_ref(base)
    halve(weights)
    assert base_ref(base) != before


def test_halved_weights_behind_a_link_have_another_name(base: Path) -> None:
    weights = base / "model.safetensors"
    outside = weights.rename(base.parent / "blob")
    weights.symlink_to(outside)  # as the hub's cache does
    before = base_ref(base)
    status = outside.stat()
    halve(outside)
    os.utime(outside, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert outside.stat().st_size == status.st_size
    assert base_ref(base) != before
    outside.unlink()
    assert "model.safetensors: cannot be read: No such file" in refusal(base)


@pytest.mark.parametrize("name", ["../w.safetensors", "/w.safetensors", "sub/w.safetensors", "w.index.json"])
def test_weights_that_the_config_names_elsewhere_are_refused(base: Path, name: str) -> None:
    change(base / "config.json", transformers_weights=name)
    assert f"config.json: 'transformers_weights' names '{name}'" in refusal(base)


def test_an_adapter_beside_the_model_is_refused(base: Path) -> None:
    change(base / "adapter_config.json", base_model_name_or_path="org/other")
    assert "merge it into the weights" in refusal(base)


@pytest.mark.parametrize("field", ["vocab_file", "tokenizer_file"])
def test_tokenizer_files_elsewhere_are_refused_if_they_are_there(base: Path, field: str) -> None:
    before = base_ref(base)
    change(base / "tokenizer_config.json", **{field: "../elsewhere.json"})
    assert base_ref(base) != before
    (base.parent / "elsewhere.json").write_text("{}")
    assert f"tokenizer_config.json: '{field}' names '../elsewhere.json'" in refusal(base)


def test_a_tokenizer_for_a_version_of_the_library_counts(base: Path) -> None:
    change(base / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.4.0.0.json"])
    shutil.copy(base / "tokenizer.json", base / "tokenizer.4.0.0.json")
    before = base_ref(base)
    change(base / "tokenizer.4.0.0.json", version="2.0")
    assert base_ref(base) != before
    change(base / "tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.0.json"])
    assert "'fast_tokenizer_files' names '../tokenizer.4.0.0.json'" in refusal(base)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("place", "words"), [("org/other--mine.C", "another repository"), ("../mine.C", "in the model's folder")]
)
def test_code_that_lies_elsewhere_is_refused(base: Path, name: str, place: str, words: str) -> None:
    change(base / name, auto_map={"AutoConfig": place, "AutoTokenizer": [None, place]})
    assert words in refusal(base, code=True)


def test_code_in_folders_counts_and_a_link_to_a_folder_is_refused(base: Path) -> None:
    before = base_ref(base, code=True)
    (base / "sub").mkdir()
    (base / "sub" / "part.py").write_text("X = 1")
    within = base_ref(base, code=True)
    assert within != before
    (base / "sub").rename(base.parent / "sub")
    (base / "sub").symlink_to(base.parent / "sub")
    assert "a link to a folder" in refusal(base, code=True)


def test_a_folder_where_one_stands_does_not_pass_for_the_hubs_model(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    (base.parent / "org").mkdir()
    base.rename(base.parent / "org" / "model")
    with pytest.raises(UserError, match="in place of the hub's model"):
        open_base("hub:org/model@0123", {"hub:org/model@0123": "org/model"})


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)  # where one stands, since a socket's path is short


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"]
)
@pytest.mark.parametrize("make", [pipe, bind, Path.mkdir])
def test_what_is_no_regular_file_is_not_read(
    base: Path, name: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base)
    (base / name).unlink()
    make(base / name)
    assert f"{name}: {'a folder' if make is Path.mkdir else 'a pipe or a device'}" in refusal(base)


@pytest.fixture
def opened() -> list[str]:
    sys.addaudithook(record_opened)  # there is no way to take one out again
    OPENED.clear()
    return OPENED


def test_opening_reads_no_file_that_naming_did_not(base: Path, opened: list[str]) -> None:
    """An audit hook sees every file that Python opens."""
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "short.jinja").write_text("{{ messages }}")
    (base / "pretraining.json").write_text("{}")
    ref = base_ref(base)
    named = {path for path in opened if path.startswith(str(base))}
    opened.clear()
    open_base(ref, {ref: base})
    loaded = {path for path in opened if path.startswith(str(base))}
    assert {Path(path).name for path in loaded} >= {"config.json", "tokenizer_config.json", "short.jinja"}
    assert loaded <= named


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "the model cannot be loaded"),
        ((2**63).to_bytes(8, "little"), "the model cannot be loaded"),
        ((10**6).to_bytes(8, "little") + b"{}", "the model cannot be loaded"),
        ((2_000_000).to_bytes(8, "little") + b"[" * 2_000_000, "the model cannot be loaded"),
        (None, "the model cannot be loaded"),
    ],
    ids=["empty", "absurd", "beyond the file", "deep", "tensors beyond the file"],
)
def test_absurd_headers(base: Path, header: bytes | None, words: str) -> None:
    if header is None:
        listed = b'{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}'
        header = len(listed).to_bytes(8, "little") + listed + b"0" * 16
    (base / "model.safetensors").write_bytes(header)
    assert words in refusal(base)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 10**8}, "'num_hidden_layers' is 100000000: no model has more than 500"),
        ({"num_hidden_layers": 10**4000}, "'num_hidden_layers' is over 10^18"),
        ({"text_config": {"num_local_experts": 10**7}}, "'num_local_experts' is 10000000"),
        ({"vocab_size": 10**9}, "the model cannot be loaded"),
        ({"hidden_size": 10**12}, "the model cannot be loaded"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_a_model_is_built(
    base: Path, changes: dict[str, Any], words: str
) -> None:
    change(base / "config.json", **changes)
    assert words in refusal(base)


def test_an_integer_of_5000_digits_in_a_config(base: Path) -> None:
    text = (base / "config.json").read_text()
    (base / "config.json").write_text(text.replace('"vocab_size": 156', f'"vocab_size": {"1" * 5000}'))
    assert "config.json: not valid JSON (Exceeds the limit" in refusal(base)


def test_a_tokenizer_that_reaches_beyond_the_embedding(base: Path) -> None:
    content = json.loads((base / "tokenizer.json").read_text())
    entry = {"id": 156, "content": "<beyond>", "special": True}
    rest = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"].append(entry | rest)
    (base / "tokenizer.json").write_text(json.dumps(content))
    message = refusal(base)
    assert "token '<beyond>' has the number 156, and the model only 156 embeddings (0 to 155)" in message
    assert "resize_token_embeddings" in message


def test_json_of_absurd_depth_or_size(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (base / "config.json").read_text()
    (base / "config.json").write_text("[" * 1_000_000)
    assert refusal(base).endswith("config.json: not valid JSON (nested too deeply)")
    (base / "config.json").write_text(content)
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 100)
    assert refusal(base).endswith("config.json: larger than 100 bytes, which no such file needs")


def test_a_file_that_only_a_rare_tokenizer_reads_is_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PreTrainedTokenizerFast.vocab_files_names, "emoji_file", "emoji.json")
    name_and_open(base)
    (base / "emoji.json").write_text("{}")
    assert "emoji.json: the tokenizer reads it, and the model's name does not cover it" in refusal(base)
