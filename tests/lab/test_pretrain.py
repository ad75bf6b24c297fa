"""Pretraining: reproducible, resumable to the same weights, and shipped bases that load and are what they say."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from w2s_core.errors import UserError
from w2s_core.lab import pretrain, training_loop
from w2s_core.lab.bases import Recipe, load_recipe
from w2s_core.lab.batches import batch, batches
from w2s_core.lab.tokenizer import build_tokenizer
from w2s_core.lab.training_loop import rate, weighted_loss
from w2s_core.models import base_ref, load_model
from w2s_core.prompting import encode_completion, encode_prompt, zero_shot

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
MINI = EXPERIMENTS / "mini"
LABS = {
    "mini": ("Ann had 8 pens. She found 5 more. How many pens did Ann have then?", "8 + 5 = 13.\n#### 13"),
}
"""Labs whose bases are shipped, each with a question and its answer."""
BASES = sorted(
    path.parent for lab in LABS for path in (EXPERIMENTS / lab / "bases").glob("*/pretraining.json")
)
TINY = """\
context: 256
texts:
  plain:
    authors: {careful: {share: 1.0, trait: 0.0}}
    levels: {1: 1.0}
    questions: 2
    question_weight: 0.5
bases:
  tiny:
    {architecture: qwen2, hidden: 16, layers: 1, heads: 2, key_value_heads: 1, intermediate: 16, steps: 6,
     batch_size: 2, learning_rate: 1.0e-2, precision: float32, seed: 4, texts: plain}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "bases.yaml"
    path.write_text(TINY)
    return path


def make(recipe: Path, work: str = "work", out: str = "out") -> Path:
    folder = recipe.parent
    return pretrain.make_base(load_recipe(recipe), "tiny", folder / out, folder / work)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_same_recipe_same_weights_and_a_finished_base_is_left_alone(recipe: Path) -> None:
    one, other = make(recipe), make(recipe, out="again")
    assert weights(one) == weights(other)
    stamp = (one / "model.safetensors").stat().st_mtime_ns
    assert make(recipe) == one
    assert (one / "model.safetensors").stat().st_mtime_ns == stamp
    recipe.write_text(TINY.replace("seed: 4", "seed: 5"))
    assert weights(make(recipe)) != weights(other)


def test_an_interrupted_run_ends_like_a_straight_one(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = make(recipe, out="straight")
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    update, steps = training_loop._update, []

    def interrupted(*arguments: object) -> float:
        if len(steps) == 4:
            raise KeyboardInterrupt
        steps.append(arguments[3])
        return update(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training_loop, "_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(recipe)
    assert not (recipe.parent / "out" / "tiny").exists()
    later: list[object] = []
    monkeypatch.setattr(training_loop, "_update", lambda *a: later.append(a[3]) or update(*a))  # type: ignore[func-returns-value]
    resumed = make(recipe)
    assert steps == [0, 1, 2, 3]
    assert later == [4, 5], "the steps before the interruption are not computed again"
    assert weights(resumed) == weights(straight)
    assert list((recipe.parent / "work").iterdir()) == [], "nothing is left behind"


def test_command_line_errors_and_interrupt(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pretrain.main([str(recipe), "--only", "huge"]) == 2
    assert capsys.readouterr().err == "error: no base 'huge' in the recipe; known: tiny\n"
    assert pretrain.main([str(recipe.parent / "none.yaml")]) == 2
    capsys.readouterr()
    assert pretrain.main([str(recipe), "--readers", "-1"]) == 2
    assert capsys.readouterr().err == "error: --readers -1: give a number of processes, 0 or more\n"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "make_base", stop)
    assert pretrain.main([str(recipe)]) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err


def test_record_says_how_it_was_made(recipe: Path) -> None:
    folder = make(recipe)
    record = json.loads((folder / "pretraining.json").read_text())
    assert record["weights_sha256"] == weights(folder)
    assert record["training"]["step"] == 6
    assert record["training"]["tokens"] > 0
    assert record["recipe"]["base"]["seed"] == 4
    assert record["versions"]["torch"] == torch.__version__.split("+")[0] or record["versions"]["torch"]


def test_batch_masks_padding_and_weighs_questions(recipe: Path) -> None:
    tokenizer = build_tokenizer(256)
    ids, weight = batch(tokenizer, "mini", load_recipe(recipe).texts["plain"], 4, "x")
    assert ids.shape == weight.shape
    assert torch.equal(weight == 0, ids == tokenizer.pad_token_id)
    row = weight[0][ids[0] != tokenizer.pad_token_id]
    text = [tokenizer.decode([i]) for i in ids[0].tolist()]
    inside = False
    for token, value in zip(text, row.tolist(), strict=False):
        inside = token == "Question" or (inside and token != "Answer")
        assert value == (0.5 if inside else 1.0)


def test_every_document_closes_with_eos_straight_behind_its_last_answer(recipe: Path) -> None:
    """A base that never meets EOS leaves it improbable even after fine-tuning, and samples then ramble on."""
    tokenizer = build_tokenizer(256)
    ids, weight = batch(tokenizer, "mini", load_recipe(recipe).texts["plain"], 8, "x")
    for row, weights_of_row in zip(ids, weight, strict=True):
        text = row[row != tokenizer.pad_token_id]
        assert (text == tokenizer.eos_token_id).nonzero().flatten().tolist() == [len(text) - 1]
        assert tokenizer.decode([text[-2]]).strip().isdigit()
        assert weights_of_row[len(text) - 1] == 1.0


def test_weighted_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.1, 0.9]]]))
    ids = torch.tensor([[0, 1, 0]])
    plain = weighted_loss(logits, ids, torch.ones(1, 3))
    assert plain.item() == pytest.approx(
        (-torch.log(torch.tensor(0.5)) - torch.log(torch.tensor(0.25))).item() / 2
    )
    tilted = weighted_loss(logits, ids, torch.tensor([[9.0, 3.0, 1.0]]))
    expected = (3 * -torch.log(torch.tensor(0.5)) - torch.log(torch.tensor(0.25))).item() / 4
    assert tilted.item() == pytest.approx(expected), (
        "the first token's weight counts for nothing: it is not predicted"
    )


def test_rate_rises_then_falls(recipe: Path) -> None:
    base = load_recipe(recipe).bases["tiny"].model_copy(update={"steps": 100, "warmup": 0.1})
    rates = [rate(base, step) for step in range(100)]
    assert rates[9] == max(rates) == base.learning_rate
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < base.learning_rate / 100


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(recipe: Path) -> None:
    recipe.write_text(TINY.replace("steps: 6", "steps: 400"))
    straight = make(recipe, out="straight")
    folders = ["--out", str(recipe.parent / "out"), "--work", str(recipe.parent / "work")]
    command = [sys.executable, "-c", KILLABLE, str(recipe), *folders]
    for delay in (6.0, 7.0):
        process = subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert weights(recipe.parent / "out" / "tiny") == weights(straight)


KILLABLE = (
    "import sys; from w2s_core.lab import pretrain, training_loop; "
    "training_loop.SECONDS_BETWEEN_CHECKPOINTS = 0.05; sys.exit(pretrain.main(sys.argv[1:]))"
)


def recipe_of(lab: str) -> Recipe:
    return load_recipe(EXPERIMENTS / lab / "bases.yaml")


@pytest.mark.parametrize("lab", LABS)
def test_every_base_of_the_recipe_is_shipped_and_small(lab: str) -> None:
    assert {path.name for path in BASES if path.parents[1].name == lab} == set(recipe_of(lab).bases)
    size = sum(file.stat().st_size for file in (EXPERIMENTS / lab / "bases").rglob("*") if file.is_file())
    assert size < 15 * 10**6


@pytest.mark.parametrize("folder", BASES, ids=lambda path: f"{path.parents[1].name}/{path.name}")
def test_shipped_base_loads_like_any_model(folder: Path, tmp_path: Path) -> None:
    record = json.loads((folder / "pretraining.json").read_text())
    lab = folder.parents[1].name
    assert record["recipe_sha256"] == recipe_of(lab).digest(folder.name), (
        "made by the recipe that is committed"
    )
    assert record["weights_sha256"] == weights(folder)
    (tmp_path / "model.json").write_text(json.dumps({"base": base_ref(folder), "adapters": []}))
    model, tokenizer = load_model(tmp_path, {base_ref(folder): folder})
    assert model.dtype == torch.float32
    assert tokenizer.padding_side == "left"
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.num_parameters() == record["parameters"]
    question, solution = LABS[lab]
    prompt = encode_prompt(tokenizer, zero_shot(question))
    answer = encode_completion(tokenizer, solution)
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0]
    losses = torch.nn.functional.cross_entropy(logits[len(prompt) - 1 : -2], torch.tensor(answer[:-1]))
    assert tokenizer.decode(prompt) == zero_shot(question), "it reads what its tokenizer.json says"
    assert losses < 1.0, "it has learned how such answers are written (chance is 5)"


def test_missing_base_name_is_a_user_error() -> None:
    with pytest.raises(UserError, match="known: strong"):
        pretrain._chosen(recipe_of("mini"), ["weak"])


def test_a_gpu_that_is_not_there_is_one_clear_line(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pretrain.main([str(recipe), "--device", "cuda"]) == 2
    assert capsys.readouterr().err == (
        "error: --device cuda: PyTorch sees no CUDA GPU here; --device cpu, or auto, works without one\n"
    )
    assert training_loop.choose_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [training_loop.choose_device(one).type for one in ("auto", "cuda", "cpu")] == [
        "cuda",
        "cuda",
        "cpu",
    ]


def test_bfloat16_is_autocast_and_changes_the_result(recipe: Path) -> None:
    plain = make(recipe)
    recipe.write_text(TINY.replace("precision: float32", "precision: bfloat16"))
    assert weights(make(recipe, out="half")) != weights(plain)


@pytest.mark.slow
def test_readers_make_the_same_batches_in_order(recipe: Path) -> None:
    here, ahead = (list(batches(load_recipe(recipe), "tiny", 1, readers)) for readers in (0, 2))
    assert len(here) == len(ahead) == 5
    for one, other in zip(here, ahead, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(here[0][0], here[1][0])
