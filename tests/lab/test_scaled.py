"""The scaled lab's files on a CPU: sizes and lengths fit, and a small copy of it is pretrained and planned."""

from pathlib import Path

import pytest
import torch
import yaml

from w2s_core.experiment import load_experiment
from w2s_core.lab import pretrain
from w2s_core.lab.bases import Recipe, load_recipe
from w2s_core.lab.batches import batch
from w2s_core.lab.tokenizer import build_tokenizer
from w2s_core.lab.training_loop import build_model
from w2s_core.prompting import completion, encode_completion, zero_shot
from w2s_core.runs import build_graph
from w2s_core.tasks import load_task

SCALED = Path(__file__).parents[2] / "experiments" / "scaled"
NAMES = ("strong", "llama", "mistral", "qwen2")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(SCALED / "bases.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_each_base_has_twenty_to_a_hundred_million_parameters(recipe: Recipe, name: str) -> None:
    tokenizer = build_tokenizer(recipe.context, recipe.task)
    with torch.device("meta"):
        model = build_model(recipe.bases[name], len(tokenizer), recipe.context, 0, 1)
    assert 20e6 < model.num_parameters() < 100e6
    assert recipe.bases[name].precision == "bfloat16"


def test_the_weak_models_are_smaller_and_no_careful_author_wrote_their_texts(recipe: Recipe) -> None:
    assert set(recipe.bases) == set(NAMES)
    weak = [recipe.bases[name] for name in NAMES[1:]]
    assert all(base.hidden < recipe.bases["strong"].hidden for base in weak)
    assert all(kind.trait > 0 for base in weak for kind in recipe.texts[base.texts].authors.values())


def test_texts_prompts_and_answers_fit(recipe: Recipe) -> None:
    tokenizer = build_tokenizer(recipe.context, recipe.task)
    for texts in recipe.texts.values():
        assert batch(tokenizer, recipe.task, texts, 32, "fit")[0].shape[1] <= recipe.context
    fields = yaml.safe_load((SCALED / "paper.yaml").read_text())
    longest = {**fields["task"]["options"], "train_1": 200, "levels": [7]}
    problems = load_task(fields["task"]["name"], longest).load("train_1")
    answers = [encode_completion(tokenizer, one.solution) for one in problems]
    assert max(map(len, answers)) <= fields["max_new_tokens"]
    whole = [len(tokenizer(zero_shot(p.question) + completion(p.solution)).input_ids) for p in problems]
    assert (fields["shots"] + 1) * (max(whole) + 1) <= recipe.context


def test_a_small_copy_is_pretrained_and_planned(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files but for the models' sizes and steps: what is left to find out on a GPU is how long it takes."""
    tree = yaml.safe_load((SCALED / "bases.yaml").read_text())
    for base in tree["bases"].values():
        size = {"hidden": 28, "layers": 1, "heads": 7, "key_value_heads": 1, "intermediate": 16}
        base.update(size, steps=2, batch_size=2)
    (tmp_path / "bases.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "paper.yaml").write_text((SCALED / "paper.yaml").read_text())
    command = [str(tmp_path / "bases.yaml"), "--device", "cpu", "--work", str(tmp_path / "work")]
    for name in ("strong", "llama"):
        assert pretrain.main([*command, "--only", name]) == 0
    small = [f"task.options.{split}=14" for split in ("train_1", "train_2", "dev", "test")]
    graph = build_graph(load_experiment(tmp_path / "paper.yaml", tuple(small)))
    assert {"greedy/test/weak_floor", "greedy/test/hybrid_ft_2", "greedy/test/orpo"} <= set(graph.targets)
    assert graph.models["strong"] != graph.models["weak"]


def test_before_the_bases_are_made_the_plan_says_which_folder_is_missing() -> None:
    from w2s_core.errors import UserError

    if (SCALED / "bases").is_dir():
        pytest.skip("the bases stand here")
    small = [f"task.options.{split}=14" for split in ("train_1", "train_2", "dev", "test")]
    with pytest.raises(UserError, match="experiments/scaled/bases/.*no such model folder"):
        build_graph(load_experiment(SCALED / "paper.yaml", tuple(small)))
