"""A base model that no step could use is refused before the first step, in one line; code of a checkpoint runs only
where the experiment says so, and is then part of its name.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from tests.doctor.conftest import Answer, down, model_page, refused
from tests.doctor.conftest import hub as hub  # a fixture
from tests.tiny import BASES, write_experiment
from w2s_core import preflight
from w2s_core.cli.main import w2s
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.models import base_ref, load_model, locate, open_base
from w2s_core.runs import GraphBuilder, build_graph, resolve_base

TUNING = {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4}
HUB_MODEL = "org/model@0123456789abcdef"
CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class Config(LlamaConfig):
    model_type = "mine"


class Model(LlamaForCausalLM):
    config_class = Config
"""


@pytest.fixture
def strong(tmp_path: Path) -> Path:
    """A copy of the shipped strong base, to be broken."""
    return Path(shutil.copytree(BASES / "strong", tmp_path / "strong"))


def refusal(tmp_path: Path, *words: str) -> str:
    """The one line with which `w2s run` refuses, before it computes or records anything."""
    store = tmp_path / "store"
    arguments = ["--store", str(store), "run", str(write_experiment(tmp_path)), *words, "--device", "cpu"]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(w2s, arguments, catch_exceptions=False)
    assert not [*store.rglob("manifest.json"), *store.rglob("refs/*.json")]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lose_tensor(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, base / "model.safetensors", {"format": "pt"})


def lose_eos(base: Path) -> None:
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": None}))


def cut_off(base: Path) -> None:
    content = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(content[: len(content) // 2])


def own_code(base: Path, place: str = "") -> None:
    config = json.loads((base / "config.json").read_text())
    named = {"AutoConfig": f"{place}mine.Config", "AutoModelForCausalLM": f"{place}mine.Model"}
    (base / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": named}))
    (base / "mine.py").write_text(f"open({str(base / 'ran')!r}, 'w').close()\n{CODE}")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lose_tensor, "lacks 1 tensors, model.layers.1.mlp.up_proj.weight"),
        (lose_eos, "the tokenizer has no EOS token"),
        (cut_off, "the model cannot be loaded"),
        (own_code, "trust_remote_code: true"),
    ],
)
def test_a_broken_strong_model_costs_no_training_of_the_weak_one(
    tmp_path: Path, strong: Path, damage: Callable[[Path], None], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(strong)
    message = refusal(tmp_path, f"strong={strong}")
    assert message.startswith(f"strong: {strong}: ")
    assert said in message
    assert not (strong / "ran").exists()
    assert "MISSING" not in capfd.readouterr().err  # transformers' own table says it in eight lines


def test_a_context_that_is_too_short_for_question_and_response(tmp_path: Path) -> None:
    message = refusal(tmp_path, "max_new_tokens=640")
    assert "its context of 640 tokens is too short for max_new_tokens = 640" in message
    assert "lower max_new_tokens" in message
    graph = build_graph(load_experiment(write_experiment(tmp_path), ("max_new_tokens=630",)))
    wanted = preflight.base_uses(graph)
    assert {split for one in wanted for split, _, _ in one.prompts} == {"train_2", "test"}
    with pytest.raises(UserError, match="after question '.*' of"):
        preflight.check_models(wanted, apart=False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refused(404, "RepoNotFound"), "the hub shows no such model"),
        (refused(404, "RevisionNotFound"), "no such revision of it"),
        (refused(403, "GatedRepo"), "accept them on its page, then `hf auth login`"),
        (refused(401, "GatedRepo"), "accept them on its page, then `hf auth login`"),
        (model_page(10**9, name="pytorch_model.bin"), "the hub has no safetensors of it"),
        (down, "the hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses(
    tmp_path: Path, hub: Callable[[Answer], None], answer: Answer, said: str
) -> None:
    asked: list[Any] = []
    hub(lambda request: asked.append(request) or answer(request))
    message = refusal(tmp_path, f"strong={HUB_MODEL}")
    assert message.startswith("strong: org/model")
    assert said in message
    assert len(asked) == 1  # not for minutes


def test_a_gated_model_whose_page_can_be_seen(tmp_path: Path, hub: Callable[[Answer], None]) -> None:
    page = model_page(10**9, gated="manual")
    hub(lambda one: page(one) if "/api/models/" in str(one.url) else refused(403, "GatedRepo")(one))
    message = refusal(tmp_path, f"strong={HUB_MODEL}")
    assert "accept them on its page, then `hf auth login`" in message


def test_a_hub_model_offline(tmp_path: Path) -> None:
    assert "not in the cache, and HF_HUB_OFFLINE is set" in refusal(tmp_path, f"strong={HUB_MODEL}")


def test_a_computed_graph_asks_for_no_model(tmp_path: Path, strong: Path) -> None:
    class Full:
        def has(self, key: str) -> bool:
            return True

    graph = build_graph(load_experiment(write_experiment(tmp_path, strong=str(strong))))
    lose_tensor(strong)
    preflight.check_graphs([graph], Full(), apart=False)


@pytest.mark.slow
def test_a_process_of_its_own_says_the_same(
    tmp_path: Path, strong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_tensor(strong)
    wanted = preflight.base_uses(build_graph(load_experiment(write_experiment(tmp_path, strong=str(strong)))))
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(UserError, match=r"^strong: .*lacks 1 tensors, model.layers.1.mlp.up_proj.weight"):
        preflight.check_models(wanted, apart=True)


def test_a_check_that_does_not_end_is_given_up_with_its_likely_cause(
    tmp_path: Path, strong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = preflight.base_uses(build_graph(load_experiment(write_experiment(tmp_path, strong=str(strong)))))
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(preflight, "LIMIT_S", 0.2)  # importing torch alone takes longer
    began = time.monotonic()
    with pytest.raises(UserError, match=r"^the check of the models was not done within 0 s: .*ulimit -v"):
        preflight.check_models(wanted, apart=True)
    assert time.monotonic() - began < 30, "the process is ended, not waited for"


def test_a_sweep_refuses_a_model_of_its_space_before_it_trains_another(tmp_path: Path, strong: Path) -> None:
    write_experiment(tmp_path, stage2={"methods": ["dpo"], "samples": 4, "dpo": TUNING, "orpo": TUNING})
    study = {"name": "study", "base": "tiny.yaml", "space": {"strong": [str(BASES / "strong"), str(strong)]}}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    lose_tensor(strong)
    store = tmp_path / "store"
    arguments = ["--store", str(store), "sweep", str(tmp_path / "study.yaml"), "--device", "cpu"]
    with pytest.raises(UserError, match=f"strong: {strong}: the checkpoint lacks 1 tensors"):
        CliRunner().invoke(w2s, arguments, catch_exceptions=False)
    assert not [*store.rglob("manifest.json"), *store.rglob("refs/*.json")]


def test_alike_graphs_are_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        def has(self, key: str) -> bool:
            return False

    asked: list[preflight.BaseUse] = []
    monkeypatch.setattr(preflight, "check_model", asked.append)
    path, builder = write_experiment(tmp_path), GraphBuilder()
    fields = ("seed=1", "seed=2", "max_new_tokens=20")
    graphs = [builder.build(load_experiment(path, (one,))) for one in fields]
    preflight.check_graphs(graphs, Empty(), apart=False)
    assert [(one.side, one.new_tokens) for one in asked] == [
        ("weak", 48), ("strong", 48), ("weak", 20), ("strong", 20)
    ]  # fmt: skip


class TestCode:
    @pytest.fixture
    def modules(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Where transformers copies code to."""
        from transformers import dynamic_module_utils

        known = set(sys.modules)
        monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
        yield
        for name in set(sys.modules) - known:
            if name.startswith("transformers_modules"):
                del sys.modules[name]

    def test_it_is_run_where_the_experiment_says_so(
        self, tmp_path: Path, strong: Path, modules: None
    ) -> None:
        own_code(strong)
        ref = base_ref(strong, code=True)
        (tmp_path / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
        config, _ = open_base(ref, {ref: strong})
        assert config.model_type == "mine"
        model, tokenizer = load_model(tmp_path, {ref: strong})
        assert type(model).__name__ == "Model"
        assert (strong / "ran").exists()
        assert tokenizer.eos_token_id is not None
        assert locate(tmp_path, {ref: strong}).code

    def test_it_is_in_the_name_and_every_change_of_it_too(self, strong: Path) -> None:
        own_code(strong)
        plain, trusted = base_ref(strong), base_ref(strong, code=True)
        assert plain.startswith("sha256:")
        assert trusted.startswith("sha256+code:")
        (strong / "mine.py").write_text(CODE + "# another\n")
        assert base_ref(strong) == plain
        assert base_ref(strong, code=True) != trusted
        assert resolve_base(HUB_MODEL) == ("hub:org/model@0123456789abcdef", "org/model")
        assert resolve_base(HUB_MODEL, code=True)[0] == "hub+code:org/model@0123456789abcdef"

    def test_the_field_keeps_the_keys_of_experiments_that_do_not_set_it(self, tmp_path: Path) -> None:
        path = write_experiment(tmp_path)
        refs = [
            build_graph(load_experiment(path, one)).models["strong"]
            for one in ((), ("trust_remote_code=false",), ("trust_remote_code=true",))
        ]
        assert refs[0] == refs[1] == base_ref(BASES / "strong")
        assert refs[2] == base_ref(BASES / "strong", code=True)

    def test_code_of_another_repository_is_refused(self, tmp_path: Path, strong: Path) -> None:
        own_code(strong, place="org/other--")
        message = refusal(tmp_path, f"strong={strong}", "trust_remote_code=true")
        assert "its code lies in another repository (org/other--mine.Config)" in message

    @pytest.mark.slow
    def test_the_method_runs_with_it(self, tmp_path: Path, strong: Path, modules: None) -> None:
        own_code(strong)
        path = write_experiment(tmp_path, strong=str(strong), trust_remote_code=True)
        arguments = ["--store", str(tmp_path / "store"), "run", str(path), "--device", "cpu"]
        done = CliRunner().invoke(w2s, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
        assert done.exit_code == 0, done.output


def test_a_cached_hub_model_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--org--model" / "snapshots" / "0123456789abcdef"
    shutil.copytree(BASES / "llama", snapshot)
    ref = "hub:org/model@0123456789abcdef"
    config, tokenizer = open_base(ref, {ref: "org/model"})
    assert config.max_position_embeddings == 640
    assert tokenizer.eos_token == "<eos>"
