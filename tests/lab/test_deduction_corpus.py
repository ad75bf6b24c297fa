"""What the bases of the deduction lab read: authors of proofs, chains, and no skeleton of a split."""

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.answers import extract
from w2s_core.errors import UserError
from w2s_core.lab.authors import AuthorKind
from w2s_core.lab.batches import batches
from w2s_core.lab.chains import LENGTHS, draw_chains
from w2s_core.lab.corpus import documents
from w2s_core.lab.domains import DOMAINS
from w2s_core.lab.recipe import Recipe, load_recipe
from w2s_core.lab.tokenizer import build_tokenizer
from w2s_core.prompting import completion, encode_completion, zero_shot
from w2s_core.tasks import deduction, load_task
from w2s_core.tasks.deduction import ANSWERS, solve
from w2s_core.tasks.deduction_search import write_search
from w2s_core.tasks.facts_and_rules import World

LAB = Path(__file__).parents[2] / "experiments" / "deduction"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(LAB / "bases.yaml")


def test_documents_hold_no_skeleton_of_a_split(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[World, str] = {}
    name_all = deduction.name_all
    plans: list[deduction.Plan] = []
    build = deduction.build
    monkeypatch.setattr(deduction, "build", lambda plan: plans.append(plan) or build(plan))  # type: ignore[func-returns-value]
    monkeypatch.setattr(deduction, "name_all", lambda rng, world: _noted(drawn, plans, name_all(rng, world)))
    told: list[World] = []
    domain = DOMAINS["deduction"]
    noting = replace(domain, tell=lambda rng, world: told.append(world) or domain.tell(rng, world))  # type: ignore[func-returns-value]
    monkeypatch.setitem(DOMAINS, "deduction", noting)
    kinds = [AuthorKind(1.0, 0.5, 1.0)]
    texts = list(islice(documents("a", "deduction", kinds, {}, {1: 1.0, 4: 1.0}, 3), 30))
    assert len(told) == 90
    read = {drawn[world] for world in told}
    assert {deduction.split_of(skeleton) for skeleton in read} == {"pretrain"}
    for split in ("train_1", "train_2", "dev", "test"):
        small = load_task("deduction", {split: 120, "levels": [1, 4]}).load(split)
        assert not {one.template for one in small} & read
    assert all(text.count("Question:") == text.count("Answer:") == text.count("####") == 3 for text in texts)


def _noted(drawn: dict[World, str], plans: list[deduction.Plan], world: World) -> World:
    drawn[world] = plans[-1].skeleton
    return world


@given(st.integers(0, 10**9), st.sampled_from(LENGTHS))
def test_a_chain_is_solved_by_the_search_and_by_the_task(seed: int, length: int) -> None:
    world = next(draw_chains(random.Random(seed), length, "pretrain"))
    assert len(world.rules) == length
    assert extract(write_search(world), "gsm8k") == solve(world)[0]


def test_chains_have_the_three_answers_equally_often() -> None:
    answers = [solve(world)[0] for world in islice(draw_chains(random.Random(0), 2, "pretrain"), 900)]
    assert all(260 < answers.count(answer) < 340 for answer in ANSWERS)


def test_weak_bases_read_no_careful_author(recipe: Recipe) -> None:
    for name, base in recipe.bases.items():
        read = [recipe.texts[texts] for texts in (base.texts, base.first_texts) if texts is not None]
        careful = any(kind.trait == 0 for texts in read for kind in texts.authors.values())
        assert careful == name.startswith("strong")


def test_first_texts_come_first(recipe: Recipe) -> None:
    base = recipe.bases["llama"]
    tokenizer = build_tokenizer(recipe.context, recipe.task)
    first = next(batches(recipe, "llama", base.first_steps - 1))[0]
    later = next(batches(recipe, "llama", base.first_steps))[0]
    assert (len(first), len(later)) == (base.first_batch, base.batch_size)
    asked = tokenizer.convert_tokens_to_ids("Question")
    assert set((first == asked).sum(1).tolist()) == {1}
    assert set((later == asked).sum(1).tolist()) == {recipe.texts[base.texts].questions}


def test_texts_prompts_and_answers_are_known_and_fit(recipe: Recipe) -> None:
    tokenizer = build_tokenizer(recipe.context, recipe.task)
    for texts in recipe.texts.values():
        task = texts.task or recipe.task
        drawn = documents("t", task, texts.kinds(), texts.traits, texts.levels, texts.questions)
        for text in islice(drawn, 40):
            ids = tokenizer(text).input_ids
            assert tokenizer.decode(ids) == text
            assert tokenizer.unk_token_id not in ids
            assert len(ids) <= recipe.context
    problems = load_task("deduction", {"train_1": 300, "levels": [4], "wording": "brief"}).load("train_1")
    lengths = [len(tokenizer(zero_shot(p.question) + completion(p.solution)).input_ids) for p in problems]
    assert 5 * (max(lengths) + 1) <= recipe.context
    assert max(len(encode_completion(tokenizer, p.solution)) for p in problems) <= 100


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("negation_dropped", "one_box_only"), "unknown traits"),
        (("task: deduction\n", "task: mini\n"), "unknown traits"),
        (("levels: {1: 1.5,", "levels: {9: 1.5,"), "unknown levels"),
        (("first_texts: chains", "first_texts: chain"), "reads texts 'chain'"),
        (("    first_texts: chains\n", ""), "first_texts together with first_steps"),
    ],
)
def test_bad_recipes_are_one_clear_line(tmp_path: Path, change: tuple[str, str], wanted: str) -> None:
    path = tmp_path / "bases.yaml"
    path.write_text((LAB / "bases.yaml").read_text().replace(*change))
    with pytest.raises(UserError, match=wanted) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
