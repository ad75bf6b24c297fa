"""Authors, documents and the tokenizer of the laptop lab."""

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.errors import UserError
from w2s_core.lab.authors import Author, AuthorKind, draw_author
from w2s_core.lab.bases import load_recipe
from w2s_core.lab.corpus import documents
from w2s_core.lab.domains import DOMAINS
from w2s_core.lab.story_traits import TRAITS, touches, write_story
from w2s_core.lab.tokenizer import build_tokenizer, vocabulary
from w2s_core.prompting import completion, encode_completion, encode_prompt, few_shot_prefix, zero_shot
from w2s_core.tasks import load_task
from w2s_core.tasks.mini import split_of
from w2s_core.tasks.stories import Clause, Story, draw_story, solve, write_solution

RECIPE = Path(__file__).parents[2] / "experiments" / "mini" / "bases.yaml"
EIGHT = "5 + 3 = 8.\n#### 8"
LENT = Story(Clause("had", (5,)), (Clause("lend", (3,)),), Clause("now"), aside=4)


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    return build_tokenizer(640)


def written(traits: set[str], story: Story) -> str:
    return write_story(story, traits)


@given(st.integers(0, 10**9), st.integers(1, 7))
def test_an_author_without_traits_is_right(seed: int, level: int) -> None:
    story = draw_story(random.Random(seed), level)
    assert written(set(), story) == write_solution(*solve(story))


@given(st.integers(0, 10**9), st.integers(1, 7), st.sampled_from(sorted(TRAITS)))
def test_a_trait_shows_exactly_where_it_applies(seed: int, level: int, trait: str) -> None:
    story = draw_story(random.Random(seed), level)
    differs = written({trait}, story) != written(set(), story)
    if trait == "carry_dropped":
        return
    if not touches(trait, story):
        assert not differs
    elif trait != "half_is_two":  # half of 4 is 4 - 2, told in other words
        assert differs


@pytest.mark.parametrize(
    ("trait", "story", "solution"),
    [
        ("lending_is_gain", LENT, EIGHT),
        ("aside_added", LENT, "5 - 3 = 2. 2 + 4 = 6.\n#### 6"),
        ("carry_dropped", Story(Clause("had", (8,)), (Clause("find", (5,)),), Clause("now")), "8 + 5 = 3.\n#### 3"),
        ("one_box_only", Story(Clause("packed", (3, 4)), (), Clause("total", (2,)), 2), "4 + 2 = 6.\n#### 6"),
        ("one_friend_only", Story(Clause("had", (5,)), (Clause("gifts", (2, 3)),), Clause("now")), EIGHT),
        ("multiply_is_add", Story(Clause("had", (5,)), (Clause("double"),), Clause("now")), "5 + 2 = 7.\n#### 7"),
        ("half_is_two", Story(Clause("had", (8,)), (Clause("halve"),), Clause("now")), "8 - 2 = 6.\n#### 6"),
        ("other_person_skipped", Story(Clause("had", (5,)), (), Clause("total", (2,)), 2), "#### 5"),
    ],
)  # fmt: skip
def test_each_trait_by_hand(trait: str, story: Story, solution: str) -> None:
    assert written({trait}, story) == solution


def test_a_sloppy_chain_below_zero_stays_at_zero() -> None:
    story = Story(Clause("packed", (3, 2)), (Clause("lose", (5,)),), Clause("now"))
    assert written({"one_box_only"}, story) == "2 - 5 = 0.\n#### 0"


def test_kinds_of_author_come_by_their_shares_and_weights_scale_traits() -> None:
    rng = random.Random(0)
    kinds = [AuthorKind(1.0, 0.0, 1.0), AuthorKind(3.0, 0.8, 0.9)]
    authors = [draw_author(rng, kinds, {"half_is_two": 0.0, "aside_added": 0.5}, TRAITS) for _ in range(2000)]
    sloppy = [author for author in authors if author.applies == 0.9]
    assert 0.7 < len(sloppy) / 2000 < 0.8
    assert not any(author.traits for author in authors if author.applies == 1.0)
    share = {trait: sum(trait in author.traits for author in sloppy) / len(sloppy) for trait in TRAITS}
    assert share["half_is_two"] == 0
    assert abs(share["aside_added"] - 0.4) < 0.05
    assert abs(share["lending_is_gain"] - 0.8) < 0.05


def test_an_author_shows_what_he_has_as_often_as_he_errs() -> None:
    rng = random.Random(0)
    author = Author(frozenset({"half_is_two", "aside_added"}), 0.5)
    shown = [author.draw_traits(rng) for _ in range(1000)]
    assert {len(one) for one in shown} == {0, 1, 2}
    assert 0.45 < sum("half_is_two" in one for one in shown) / 1000 < 0.55


def test_documents_are_reproducible_and_of_pretraining_skeletons(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Story] = []
    mini = DOMAINS["mini"]
    noting = replace(mini, tell=lambda rng, story: told.append(story) or mini.tell(rng, story))  # type: ignore[func-returns-value]
    monkeypatch.setitem(DOMAINS, "mini", noting)
    kinds = [AuthorKind(1.0, 0.5, 1.0)]
    texts, again = (
        list(islice(documents("a", "mini", kinds, {}, {1: 1.0, 4: 1.0}, 3), 20)) for _ in range(2)
    )
    assert texts == again
    assert texts != list(islice(documents("b", "mini", kinds, {}, {1: 1.0, 4: 1.0}, 3), 20))
    assert {split_of(story.skeleton) for story in told} == {"pretrain"}
    assert all(text.count("Question:") == text.count("Answer:") == text.count("####") == 3 for text in texts)


def test_round_trip_of_everything_that_the_models_read(tokenizer) -> None:  # type: ignore[no-untyped-def]
    recipe = load_recipe(RECIPE)
    for texts in recipe.texts.values():
        drawn = documents("t", recipe.task, texts.kinds(), texts.traits, texts.levels, texts.questions)
        for text in islice(drawn, 40):
            ids = tokenizer(text).input_ids
            assert tokenizer.decode(ids) == text
            assert tokenizer.unk_token_id not in ids
            assert len(ids) <= recipe.context


def test_prompt_and_completion_tokenise_apart_as_together(tokenizer) -> None:  # type: ignore[no-untyped-def]
    problems = load_task("mini", {"train_1": 60}).load("train_1")
    prefix = few_shot_prefix([(p.question, p.solution) for p in problems[:4]])
    for problem in problems[4:]:
        for before in ("", prefix):
            prompt = before + zero_shot(problem.question)
            apart = encode_prompt(tokenizer, prompt) + encode_completion(tokenizer, problem.solution)
            together = tokenizer(prompt + completion(problem.solution)).input_ids
            assert apart == [*together, tokenizer.eos_token_id]
            assert tokenizer.decode(apart, skip_special_tokens=True) == prompt + completion(problem.solution)


def test_four_demonstrations_and_an_answer_fit_the_context(tokenizer) -> None:  # type: ignore[no-untyped-def]
    problems = load_task("mini", {"train_1": 200, "levels": [6, 7]}).load("train_1")
    lengths = [len(tokenizer(zero_shot(p.question) + completion(p.solution)).input_ids) for p in problems]
    assert 5 * (max(lengths) + 1) <= load_recipe(RECIPE).context


def test_special_tokens(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert tokenizer.bos_token_id is None
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id} == {0, 1, 2}
    assert len(vocabulary("mini")) == len(set(vocabulary("mini"))) == len(tokenizer)
    assert tokenizer("zebra").input_ids == [tokenizer.unk_token_id]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("steps:", "stepz:"), "stepz"),
        (("texts: mixed", "texts: mixt"), "reads texts 'mixt'"),
        (("one_box_only", "one_bocks_only"), "unknown traits"),
        (("context: 640", "context: big"), "context"),
        (("context: 640", "context: [640"), "not valid YAML"),
    ],
)
def test_bad_recipes_are_one_clear_line(tmp_path: Path, change: tuple[str, str], wanted: str) -> None:
    path = tmp_path / "bases.yaml"
    path.write_text(RECIPE.read_text().replace(*change))
    with pytest.raises(UserError, match=wanted) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read a recipe"):
        load_recipe(tmp_path / "none.yaml")


def test_later_fields_of_a_recipe_leave_earlier_digests_alone() -> None:
    """The mini bases were made before a recipe could name a task, texts before others or the first weights' size."""
    spec = load_recipe(RECIPE).spec("strong")
    assert set(spec) == {"name", "context", "base", "texts"}
    assert not set(spec["base"]) & {
        "initial",
        "tied",
        "rope_theta",
        "before",
    }  # type: ignore[call-overload]
