"""An exported model answers as the harness's own, loaded by PEFT and transformers alone; its card tells the record."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import w2s
from tests.library.conftest import Typed
from tests.tiny import BASES, write_experiment
from w2s_core.cli.export import base_place
from w2s_core.cli.export_weights import weights_written, write_adapter
from w2s_core.cli.model_card import Exported, model_card
from w2s_core.engine import Store
from w2s_core.files import new_folder
from w2s_core.models import base_ref, load_model

TOKENS = torch.arange(3, 40)[None]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def base() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(BASES / "strong", dtype=torch.float32)


def own(folder: Path) -> torch.Tensor:
    return logits(load_model(folder, {base_ref(BASES / "strong"): str(BASES / "strong")})[0])


def refusal(typed: Typed, *words: str) -> str:
    done = typed(*words)
    assert isinstance(done.exception, w2s.UserError)
    return str(done.exception)


@pytest.mark.parametrize(
    ("model", "training", "rank"), [("hybrid_ft_1", "sft:hybrid_ft_1", 32), ("dpo", "prefer:dpo", 64)]
)
def test_an_export_has_the_logits_of_the_model(
    typed: Typed, lab: w2s.Lab, tmp_path: Path, model: str, training: str, rank: int
) -> None:
    expected = own(lab["first"].folder(training))
    assert (expected - logits(base())).abs().max() > 0.05, "else any adapter would do"
    adapter = typed("export-adapter", "first", model, str(tmp_path / "adapter"))
    assert adapter.stdout.endswith(f"{model} of run first, an adapter of rank {rank}\n")
    loaded = PeftModel.from_pretrained(base(), tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded), expected, atol=1e-4, rtol=1e-4)
    assert not typed("export-adapter", "first", training, str(tmp_path / "merged"), "--merge").exception
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(logits(merged), expected)
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in (tmp_path / "merged", BASES / "strong")]
    text = "Question: 12 + 345?\nAnswer: 357"
    assert tokenizers[0](text).input_ids == tokenizers[1](text).input_ids


def test_the_library_writes_what_the_command_writes(typed: Typed, lab: w2s.Lab, tmp_path: Path) -> None:
    typed("export-adapter", "first", "dpo", str(tmp_path / "typed"))
    lab["first"].export_adapter("dpo", tmp_path / "called")
    files = {path.name: path.read_bytes() for path in (tmp_path / "typed").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "called").iterdir()}
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}


def test_a_merged_export_is_a_base_model_that_an_experiment_can_name(
    typed: Typed, folder: Path, tmp_path: Path
) -> None:
    typed("export-adapter", "first", "dpo", str(tmp_path / "merged"), "--merge")
    planned = typed("plan", str(folder / "tiny.yaml"), f"strong={tmp_path / 'merged'}")
    assert planned.exception is None
    assert f"base_model:{base_ref(tmp_path / 'merged')[:15]}" in planned.stdout


def test_a_merged_export_is_of_the_type_of_the_bases_weights(tmp_path: Path) -> None:
    from w2s_core.cli.export_weights import write_merged

    base().to(torch.bfloat16).save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(BASES / "strong").save_pretrained(tmp_path / "base")
    (tmp_path / "model").mkdir()
    ref = base_ref(tmp_path / "base")
    (tmp_path / "model" / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
    write_merged(tmp_path / "model", {ref: tmp_path / "base"}, "float32", tmp_path / "merged")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").dtype == torch.bfloat16


def write_stack(folder: Path, *configs: dict[str, object]) -> list[Path]:
    """An artifact of random adapters, whose B matrices are not zero."""
    for number, config in enumerate(configs):
        torch.manual_seed(number)
        model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **config))
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(weight, std=0.05)
        model.save_pretrained(folder / f"adapters/{number}")
    names = [f"adapters/{number}" for number in range(len(configs))]
    content = {"base": base_ref(BASES / "strong"), "adapters": names}
    (folder / "model.json").write_text(json.dumps(content))
    return [folder / name for name in names]


def test_adapters_of_other_ranks_scales_and_layers_are_put_together(tmp_path: Path) -> None:
    plain = {"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    stabilised = {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": ["v_proj", "down_proj"]}
    last = {"r": 4, "lora_alpha": 1, "target_modules": ["o_proj"], "layers_to_transform": [0]}
    adapters = write_stack(tmp_path, stabilised, plain, last)
    (tmp_path / "out").mkdir()
    assert write_adapter(adapters, None, None, tmp_path / "out") == 9
    loaded = PeftModel.from_pretrained(base(), tmp_path / "out")
    torch.testing.assert_close(logits(loaded), own(tmp_path), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("beyond", "named"),
    [({"use_dora": True}, "use_dora"), ({"modules_to_save": ["lm_head"]}, "modules_to_save")],
)
def test_what_is_no_product_of_two_matrices_is_refused_in_a_stack(
    tmp_path: Path, beyond: dict[str, object], named: str
) -> None:
    plain: dict[str, object] = {"r": 2, "target_modules": ["q_proj"]}
    adapters = write_stack(tmp_path, plain, plain | beyond)
    refused = rf"adapters/1: not only a low-rank product \({named}\): use --merge"
    with pytest.raises(w2s.UserError, match=refused):
        write_adapter(adapters, None, None, tmp_path)
    save_file({"x.bias": torch.zeros(2)}, adapters[1] / "adapter_model.safetensors")
    (adapters[1] / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 2}))
    with pytest.raises(w2s.UserError, match=r"adapters/1: not only a low-rank product \(x.bias\)"):
        write_adapter(adapters, None, None, tmp_path)


def test_the_card_holds_what_the_record_and_the_manifests_say(
    typed: Typed, lab: w2s.Lab, tmp_path: Path
) -> None:
    typed("export-adapter", "first", "dpo", str(tmp_path / "out"))
    run, card = lab["first"], (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "strong"
    assert "license" not in front
    assert "# license: for you to choose" in card
    assert run.record["models"]["strong"] in card
    assert run.record["steps"]["prefer:dpo"] in card
    assert " ".join(run.record["command"]) in card
    for step in ("sft:hybrid_ft_1", "prefer:dpo"):
        manifest = lab.store.manifest(run.record["steps"][step])
        assert f"{manifest['summary']['method']} on {manifest['summary']['rows']} rows" in card
        assert f"* learning\\_rate: {manifest['spec']['params']['settings']['learning_rate']}" in card
    table = run.accuracy().set_index("target")
    percent = 100 * table.loc["greedy/test/dpo", "accuracy"]
    assert f"| **M\\_plus + DPO** | test | greedy | {percent:.1f} | 6 |" in card
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(BASES / "strong")


def test_a_base_on_a_hub_is_named_with_its_commit(tmp_path: Path) -> None:
    record = {"models": {"strong": "hub:org/m@c0ffee", "weak": "sha256:1"}}
    record["experiment"] = {"strong": "org/m@c0ffee", "weak": "/models/a@b"}
    assert base_place(record, "hub:org/m@c0ffee") == ("org/m", "org/m", "c0ffee")
    assert base_place(record, "sha256:1") == ("a@b", "/models/a@b", None)
    assert base_place({"experiment": {}}, "sha256:1") == ("sha256:1", None, None)
    adapters = write_stack(tmp_path, {"r": 2, "target_modules": ["q_proj"]})
    (tmp_path / "out").mkdir()
    write_adapter(adapters, "org/m", "c0ffee", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/m", "c0ffee")
    exported = Exported("r", "dpo", "k" * 64, "org/m", "hub:org/m@c0ffee", "org/m", "c0ffee", None, rank=2)
    card = model_card(Store(tmp_path / "store"), {"experiment": {}, "targets": {}, "outline": []}, exported)
    assert 'from_pretrained("org/m", revision="c0ffee")' in card
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "org/m"


def test_words_of_a_record_mean_nothing_to_markdown(tmp_path: Path) -> None:
    name = "[x](http://y) | `a`\n# b"
    exported = Exported(name, name, "k", 'a"b\n: c', "sha256:1", "/p", None, None, rank=2)
    record = {"experiment": {}, "targets": {}, "outline": [], "command": ["w2s", "```"]}
    card = model_card(Store(tmp_path / "store"), record, exported)
    assert yaml.safe_load(card.split("\n---\n")[0])["base_model"] == 'a"b\n: c'
    assert "\n# b" not in card
    assert "[x](" not in card
    assert "````\nw2s ```\n````" in card


def test_mistakes_are_one_line_and_write_nothing(typed: Typed, lab: w2s.Lab, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert "known: first, second" in refusal(typed, "export-adapter", "third", "dpo", out)
    unknown = refusal(typed, "export-adapter", "first", "dop", out)
    assert "run first has no model 'dop'; there are: ceiling, dpo, full_weak_ft" in unknown
    assert "base_model" not in unknown
    assert "zero_shot" not in unknown
    no_adapter = refusal(typed, "export-adapter", "first", "zero_shot", out)
    assert "is the base model strong itself: it has no adapter to export" in no_adapter
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    assert "there is something of that name already" in refusal(typed, "export-adapter", "first", "dpo", out)
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "adapter_config.json").write_text("{}")
        # Raised by hand: save_file to /dev/full would, as root, put a file in the place of the device.
        raise SafetensorError("No space left on device")

    refused = "out: cannot be written: .*No space left"
    out = tmp_path / "out"
    with pytest.raises(w2s.UserError, match=refused), new_folder(out) as folder, weights_written(out):
        fill(folder)
    assert not list(tmp_path.iterdir())


def test_an_adapter_needs_no_base_and_merging_says_that_it_is_gone(
    typed: Typed, lab: w2s.Lab, tmp_path: Path
) -> None:
    record = lab.store.refs.read("first")
    gone = record["experiment"] | {"strong": str(tmp_path / "gone")}
    lab.store.refs.write("moved", record | {"run": "moved", "experiment": gone})
    try:
        assert typed("export-adapter", "moved", "dpo", str(tmp_path / "out")).exception is None
        refused = refusal(typed, "export-adapter", "moved", "dpo", str(tmp_path / "merged"), "--merge")
        assert refused == f"{tmp_path / 'gone'}: there is no such model folder"
        assert not (tmp_path / "merged").exists()
    finally:
        lab.store.refs.delete("moved")


@pytest.mark.slow
def test_a_model_of_which_all_weights_were_trained_is_merged(tmp_path: Path) -> None:
    tuning = {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4, "tuning": "full"}
    config = write_experiment(tmp_path, sft=tuning, evaluation={"samples": 0})
    run = w2s.Lab(tmp_path / "store").run(config, {"stage2.methods": ["dpo"]}, name="full")
    for model in ("hybrid_ft_1", "dpo"):
        with pytest.raises(
            w2s.UserError, match=f"model '{model}' of run full: all its weights were trained: use"
        ):
            run.export_adapter(model, tmp_path / "adapter")
        run.export_adapter(model, tmp_path / model, merge=True)
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / model)
        training = "prefer:dpo" if model == "dpo" else f"sft:{model}"
        assert torch.equal(logits(merged), own(run.folder(training)))
    assert not (tmp_path / "adapter").exists()
