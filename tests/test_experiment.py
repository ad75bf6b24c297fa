"""Experiments are read strictly: every mistake is one line with file, line, field and what would be right."""

from pathlib import Path

import pytest

from tests.tiny import write_experiment
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.training.settings import TrainSettings

GOOD = """\
name: small
task:
  name: mini
weak: bases/weak
strong: bases/strong
weak_sft: {learning_rate: 1.0e-3, max_steps: 3}
sft: {learning_rate: 1.0e-3, epochs: 1}
stage1:
  iterations: 2
  consistency: 0.5
stage2:
  dpo: {learning_rate: 1.0e-3, epochs: 1}
  orpo: {learning_rate: 1.0e-3, epochs: 1}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "bases" / "weak").mkdir(parents=True)
    (tmp_path / "bases" / "strong").mkdir()
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    return path


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_reads_fields_defaults_and_model_folders(config: Path) -> None:
    experiment = load_experiment(config)
    assert experiment.stage1.consistency == 0.5
    assert experiment.stage2.keep == 0.6, "the paper's threshold is the default"
    assert experiment.weak == str(config.parent / "bases" / "weak")


def test_local_data_take_the_place_of_the_hubs(config: Path, tmp_path: Path) -> None:
    config.write_text(GOOD.replace("  name: mini\n", "  name: gsm8k\n  options: {revision: abc, dev: 5}\n"))
    (tmp_path / "mine").mkdir()
    experiment = load_experiment(config, data=tmp_path / "mine")
    assert experiment.task.options == {"data": str(tmp_path / "mine"), "dev": 5}
    with pytest.raises(UserError, match=r"^--data nowhere: there is no such folder$"):
        load_experiment(config, data=Path("nowhere"))


@pytest.mark.parametrize("written", ["questions", "./questions", "sub/../questions"])
def test_data_in_the_file_are_relative_to_it_and_in_an_override_to_where_one_stands(
    config: Path, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(
        GOOD.replace("  name: mini\n", f"  name: jsonl\n  options: {{data: {written}, answer: number}}\n")
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    in_file, here = str(tmp_path / "questions"), str(tmp_path / "elsewhere" / "mine")
    assert load_experiment(config).task.options["data"] == in_file
    for other in ("task.options.answer=text", "seed=1"):
        assert load_experiment(config, (other,)).task.options["data"] == in_file
    for override in (
        "task.options.data=mine",
        "task.options={data: mine, answer: number}",
        "task={name: jsonl, options: {data: mine, answer: number}}",
        f"task.options.data={here}",
    ):
        assert load_experiment(config, (override,)).task.options["data"] == here


def test_override_is_typed_and_changes_the_digest(config: Path) -> None:
    plain = load_experiment(config)
    changed = load_experiment(config, ("stage1.iterations=1", "stage2.methods=[orpo]"))
    assert changed.stage1.iterations == 1
    assert changed.stage2.methods == ("orpo",)
    assert changed.digest != plain.digest
    assert load_experiment(config, ("stage1.iterations=2",)).digest == plain.digest


def test_hub_ids_stay_as_they_are(config: Path) -> None:
    assert load_experiment(config, ("weak=org/model@abc",)).weak == "org/model@abc"


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("consistency: 0.5", "consistancy: 0.5", 10, "did you mean 'consistency'"),
        ("consistency: 0.5", "consistency: 1.5", 10, "less than or equal to 1"),
        ("consistency: 0.5", "consistency: -0.1", 10, "greater than or equal to 0"),
        ("iterations: 2", "iterations: two", 9, "integer"),
        ("iterations: 2", "iterations: 2.5", 9, "integer"),
        (
            "sft: {learning_rate: 1.0e-3, epochs: 1}",
            "sft: {learning_rate: 1.0e-3}",
            7,
            "exactly one of epochs",
        ),
        ("strong: bases/strong\n", "", None, "'strong' is missing"),
        ("name: small", "name: small\nname: twice", 2, "given twice"),
        ("name: small", "name: [small", 2, "not valid YAML"),
        ("name: small", "name: &a small\nseed: *a", None, "aliases"),
        ("name: small", "name: a/b", 1, "name"),
    ],
)
def test_mistakes_name_file_line_and_field(
    config: Path, old: str, new: str, line: int | None, expected: str
) -> None:
    config.write_text(GOOD.replace(old, new, 1))
    text = message(config)
    assert expected in text
    assert text.startswith(f"{config}:{line}:" if line else str(config))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("stage1.consistency=2", "less than or equal to 1"),
        ("stage1.itertions=2", "did you mean 'iterations'"),
        ("stage1", "field=value"),
        ("name.first=x", "not a section"),
        ("sft.learning_rate=.inf", "'sft.learning_rate': should be a finite number"),
        ("stage2.dpo.beta=0", "'stage2.dpo.beta': should be greater than 0"),
        ("weak_sft.warmup_ratio=1", "'weak_sft.warmup_ratio': should be less than 1"),
        ("sft.max_length=1", "'sft.max_length': should be greater than or equal to 2"),
        ("sft.tuning=qlora", "'sft.tuning': should be 'lora' or 'full' (given: 'qlora')"),
        (
            "sft.optimizer=lion_32bit",
            "'sft.optimizer': should be 'adamw_torch_fused', 'adafactor', 'adagrad'",
        ),
        ("sft.max_grad_norm=-1", "'sft.max_grad_norm': should be greater than or equal to 0"),
        ("sft.lora_targets=[q_proj, q_proj]", "'sft.lora_targets': names a layer twice"),
        ("sft.lora_targets=[]", "'sft.lora_targets' is empty; at least 1 is needed"),
        ("sft.beta=0.1", "unknown field 'sft.beta'"),
        ("stage2.dpo.loss=kto", "'stage2.dpo.loss': should be 'sigmoid', 'hinge', 'ipo'"),
        ("stage2.dpo.label_smoothing=0.5", "'stage2.dpo.label_smoothing': should be less than 0.5"),
        (
            "stage2.dpo.label_smoothing=0.1",
            "'stage2.dpo.label_smoothing': changes the loss only with loss: robust or exo_pair; leave it out",
        ),
        (
            "stage2.dpo.loss=robust",
            "'stage2.dpo.label_smoothing': should be above 0: at 0 the loss robust is sigmoid",
        ),
        ("stage2.orpo.label_smoothing=0.1", "unknown field 'stage2.orpo.label_smoothing'"),
        (
            "stage2.methods=[simpo]",
            "'stage2.methods': has simpo, whose settings are missing: add stage2.simpo",
        ),
    ],
)
def test_mistaken_overrides(config: Path, override: str, expected: str) -> None:
    assert expected in message(config, override)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ("sft.tuning=full", "sft.lora_dora=true"),
            "'sft.lora_dora': is of adapters, and tuning: full trains none",
        ),
        (("sft.tuning=full", "sft.lora_r=8"), "'sft.lora_r': is of adapters, and tuning: full trains none"),
        (("sft.tuning=full", "sft.load_in_4bit=true"), "'sft.load_in_4bit': goes with tuning: lora"),
        (
            ("sft.lora_dora=true", "sft.load_in_4bit=true"),
            "'sft.load_in_4bit': goes with tuning: lora and without",
        ),
        (
            ("sft.lora_dora=true", "engine=vllm"),
            "'sft.lora_dora' cannot be had with engine 'vllm', which has no DoRA",
        ),
    ],
)
def test_fields_that_do_not_go_together(config: Path, overrides: tuple[str, ...], expected: str) -> None:
    assert expected in message(config, *overrides)


def test_all_weights_of_a_model_with_its_own_code_are_refused(config: Path) -> None:
    experiment = load_experiment(config, ("sft.tuning=full", "trust_remote_code=true"))
    with pytest.raises(UserError, match="^tuning: full goes without trust_remote_code"):
        experiment.training(experiment.sft)


def test_another_order_of_targets_is_the_same_training(config: Path) -> None:
    one, other, all_of_them = (
        load_experiment(config, (f"sft.lora_targets={names}",)).digest
        for names in (
            "[v_proj, q_proj]",
            "[q_proj, v_proj]",
            "[v_proj, q_proj, k_proj, o_proj, gate_proj, up_proj, down_proj]",
        )
    )
    assert one == other != load_experiment(config).digest == all_of_them


def test_training_settings_as_keys_hold_them(config: Path) -> None:
    """A field that is new, gone or renamed here gives every training another key."""
    experiment = load_experiment(config, ("stage2.dpo.beta=0.2",)).on("cpu")
    shared = {
        "learning_rate": 1e-3, "batch_size": 32, "epochs": 1.0, "max_steps": None, "lora_r": 32, "lora_alpha": 64,
        "lora_dropout": 0.0, "warmup_ratio": 0.03, "scheduler": "cosine", "weight_decay": 0.0, "max_length": 1024,
        "precision": "float32", "quantization": None,
    }  # fmt: skip
    assert experiment.training(experiment.sft) == shared
    assert experiment.training(experiment.stage2.dpo) == shared | {"beta": 0.2}
    settings = TrainSettings(method="dpo", seed=1, **experiment.training(experiment.stage2.dpo))
    assert settings.model_dump() == shared | {"beta": 0.2, "method": "dpo", "seed": 1}


def test_unreadable_files(tmp_path: Path) -> None:
    assert "cannot read" in message(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    assert "mapping" in message(tmp_path / "list.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\xff\n")
    assert "UTF-8" in message(tmp_path / "latin.yaml")
    (tmp_path / "deep.yaml").write_text("[" * 5000)
    assert "deep.yaml" in message(tmp_path / "deep.yaml")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1E-3", 1e-3), ("2e3", 2e3), (".5e-2", 5e-3), ("1.0e-3", 1e-3)]
)
def test_numbers_with_exponents_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    config = write_experiment(tmp_path)
    assert load_experiment(config, (f"sft.learning_rate={text}",)).sft.learning_rate == value


def test_a_number_in_the_file_may_have_an_exponent(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, weak_sft={"learning_rate": 1e-09, "max_steps": 1})
    assert "1e-09" in config.read_text()
    assert load_experiment(config).weak_sft.learning_rate == 1e-09
