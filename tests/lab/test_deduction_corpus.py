"""What the bases of the deduction lab read: authors of proofs, drills, and no skeleton of a split."""

import random
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.errors import UserError
from w2s_core.lab.authors import AuthorKind
from w2s_core.lab.bases import Recipe, load_recipe
from w2s_core.lab.batches import batches
from w2s_core.lab.corpus import documents
from w2s_core.lab.domains import DOMAINS
from w2s_core.lab.drills import ROUNDS, SIZES, draw_drills, tell_drill, write_drill
from w2s_core.lab.tokenizer import build_tokenizer
from w2s_core.prompting import completion, encode_completion, zero_shot
from w2s_core.tasks import deduction, load_task
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


@given(st.integers(0, 10**9), st.sampled_from(SIZES))
def test_a_drill_says_again_what_was_told_and_nothing_else(seed: int, size: int) -> None:
    drill = next(draw_drills(random.Random(seed), size, "pretrain"))
    told = re.findall(r"(\w+) (\w+)\.", tell_drill(drill))
    assert len(told) == len(set(told)) == size + 2
    assert len({first for first, _ in told}) == len(told), "what follows is never in doubt"
    said = [tuple(pair.split()) for pair in write_drill(drill).removesuffix(".").split(", ")]
    assert all(sorted(said[i : i + len(told)]) == sorted(told) for i in range(0, len(said), len(told)))
    assert len(said) == ROUNDS * len(told)
    assert "?" not in tell_drill(drill), "it asks nothing, so no author can answer it with or without care"


def test_weak_bases_read_no_careful_author(recipe: Recipe) -> None:
    for name, base in recipe.bases.items():
        careful = any(kind.trait == 0 for kind in recipe.texts[base.texts].authors.values())
        assert careful == name.startswith("strong")


def test_what_comes_before_comes_first_and_documents_grow(recipe: Recipe) -> None:
    base = recipe.bases["llama"]
    texts, (drills,) = recipe.texts[base.texts], base.before
    asked = build_tokenizer(recipe.context, recipe.task).convert_tokens_to_ids("Question")
    first, early = (ids for ids, _ in islice(batches(recipe, "llama", drills.steps - 1), 2))
    late = [ids for ids, _ in batches(recipe, "llama", base.steps - 12)]
    assert len(first) == drills.batch_size
    assert len(early) == base.batch_size * texts.questions
    questions = [(ids == asked).sum(1).unique().tolist() for ids in (first, early, *late)]
    assert all(len(alike) == 1 for alike in questions), "documents of one step are of one length"
    assert questions[:2] == [[1], [1]]
    assert {one for (one,) in questions[2:]} == set(range(1, texts.questions + 1))
    for ids in late:
        assert abs(int((ids == asked).sum()) - base.batch_size * texts.questions) <= texts.questions


def test_each_step_reads_its_place_in_the_order(recipe: Recipe) -> None:
    base = recipe.bases["strong"]
    read = [base.reading(step) for step in range(base.steps)]
    listed = [(one.texts, one.steps) for one in base.before] + [(base.texts, base.last_steps)]
    assert [one.texts for one, _ in read] == [name for name, steps in listed for _ in range(steps)]
    shares = [share for _, share in read]
    assert shares == [step / steps for _, steps in listed for step in range(steps)]


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
        (("levels: {1: 2.0,", "levels: {9: 2.0,"), "unknown levels"),
        (("{texts: drills,", "{texts: drill,"), "reads texts 'drill'"),
        (("    steps: 3100\n", "    steps: 2300\n"), "`steps` counts those of `before`, and must be more"),
        (("fewest: 1", "fewest: 5"), "must be less than questions"),
    ],
)
def test_bad_recipes_are_one_clear_line(tmp_path: Path, change: tuple[str, str], wanted: str) -> None:
    path = tmp_path / "bases.yaml"
    path.write_text((LAB / "bases.yaml").read_text().replace(*change))
    with pytest.raises(UserError, match=wanted) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
