"""The deduction task: facts and rules about invented people and properties, and one question: true, false or unknown.

Every story tells of three people and holds four strands of rules, two for each side of the question:

* a live strand of `level` rules that ends in the asked property, or in its negation;
* a dead strand that leads elsewhere.

The person asked about has the start of one strand of each side, somebody else has the start of the other; conditions
("dax and fep") are handed out likewise. So sentences, lengths and word counts say nothing about the answer, and only
following the rules does. The rules are Horn clauses and nothing follows from the negation, so forward chaining finds
all that is entailed. Two wordings tell the same stories: `full` sentences with the shortest proof as the solution, and
`brief` ones, half as long, with the whole search for it (`deduction_search.py`), for small models. Splits are disjoint
on the skeleton (the story without names, properties and the order of its sentences): a hash of the skeleton assigns it
to one split, whatever the seed and the sizes. Pretraining texts are drawn from a bucket of their own.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from w2s_core.errors import UserError
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.deduction_search import tell_brief, write_search
from w2s_core.tasks.facts_and_rules import Rule, World
from w2s_core.tasks.generated import apportion, read_options

LEVELS = tuple(range(1, 7))
"""Rules that a proof of "true" or "false" applies one after the other."""
WORDINGS = ("full", "brief")
ANSWERS = ("true", "false", "unknown")
DEFAULT_SIZES = {"train_1": 1000, "train_2": 1000, "dev": 500, "test": 500}
BUCKETS = {"pretrain": 40, "train_1": 20, "train_2": 20, "dev": 10, "test": 10}
"""Shares of all skeletons, in per cent."""
MOST_BRANCHES = 2
"""Rules that lead from a live strand, or from the asked property, to nowhere."""

PEOPLE = (
    "Bimo", "Cael", "Dorin", "Elka", "Fenna", "Goro", "Hesta", "Ilmo", "Jarra", "Kelu", "Lomi", "Mavo", "Nilda",
    "Orsu", "Pello", "Quim", "Rasha", "Sorel", "Tavi", "Umar", "Vessa", "Wenno", "Yaro", "Zuli",
)  # fmt: skip
PROPERTIES = (
    "blick", "brell", "brisp", "clise", "cromp", "dax", "dorp", "drav", "dwint", "enth", "felk", "fep", "flone",
    "frub", "glorn", "gorp", "grull", "hesk", "hodd", "hulm", "imble", "jask", "jevin", "jund", "kiv", "klem",
    "lorp", "lunt", "merv", "mip", "nazz", "nurl", "opid", "ospy", "plim", "prell", "quab", "quog", "rilt", "rondy",
    "skeb", "sorv", "tirm", "tolp", "ulsh", "urby", "vask", "vond", "wemb", "wug", "yeft", "yorl", "zaff", "zind",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """What speaks for, or against, the asked property.

    Attributes:
        dead: rules in the dead strand.
        condition: which rule of the live and which of the dead strand has a second condition, counted from 1.
        crossed: which thing the person asked about lacks, so that nothing follows from this side: "start",
            "condition", or "" where the live strand runs through.
    """

    dead: int
    condition: tuple[int, int] | None
    crossed: str


@dataclass(frozen=True)
class Plan:
    """A story without names, properties and order. `branches` are places (side, rule) where a rule leads nowhere."""

    level: int
    sides: tuple[Side, Side]
    branches: tuple[tuple[int, int], ...]

    @property
    def skeleton(self) -> str:
        """One text for all plans of the same story: alike stories share it, and form one cluster.

        Where both dead strands start from the person asked about and have no condition, nothing says to which side
        either belongs, so their order does not count.
        """
        sides = list(self.sides)
        if all(side.crossed and not side.condition for side in sides):
            sides.sort(key=lambda side: side.dead)
        parts = [f"{side.dead} {side.condition or '-'} {side.crossed or '-'}" for side in sides]
        return " | ".join([f"level {self.level}", *parts, f"branches {sorted(self.branches)}"])


def split_of(skeleton: str) -> str:
    """The only split that may hold this skeleton."""
    bucket = int.from_bytes(hashlib.sha256(skeleton.encode()).digest()[:8], "big") % 100
    for name, share in BUCKETS.items():
        bucket -= share
        if bucket < 0:
            return name
    raise AssertionError("the shares of BUCKETS add up to 100")


# Drawing -----------------------------------------------------------------------------------------------------------


def draw_plan(rng: random.Random, level: int, answer: str) -> Plan:
    """A random story with this answer; all that can be counted in it is drawn without looking at the answer."""
    holds = {"true": (True, False), "false": (False, True), "unknown": (False, False)}[answer]
    pro, contra = (_draw_side(rng, level, side_holds) for side_holds in holds)
    places = [(side, i) for side in (0, 1) for i in range(1, level)] + [(0, level)]
    branches = tuple(rng.choice(places) for _ in range(rng.randint(0, MOST_BRANCHES)))
    return Plan(level, (pro, contra), branches)


def _draw_side(rng: random.Random, level: int, holds: bool) -> Side:
    dead = rng.randint(1, max(3, level))
    condition = (rng.randint(1, level), rng.randint(1, dead)) if rng.random() < 0.5 else None
    # with both conditions in the first rules, start and condition are alike: crossing either is one story
    ways = ["start"] if condition in (None, (1, 1)) else ["start", "condition"]
    crossed = rng.choice(ways)
    return Side(dead, condition, "" if holds else crossed)


def build(plan: Plan) -> World:
    """The story's facts and rules, with roles in place of names and properties."""
    facts: list[tuple[str, str]] = []
    rules: list[Rule] = []
    for number, side in enumerate(plan.sides):
        live = [_live(number, i, plan.level) for i in range(plan.level + 1)]
        dead = [f"dead {number} {i}" for i in range(side.dead + 1)]
        needs = [("start", live[0], dead[0])]
        if side.condition:
            needs.append(("condition", f"live {number} with", f"dead {number} with"))
        for place, live_needs, dead_needs in needs:
            own, others = (dead_needs, live_needs) if side.crossed == place else (live_needs, dead_needs)
            facts += [("asked", own), (f"other {number}", others)]
        at = side.condition or (0, 0)
        rules += _strand(live, at[0], f"live {number} with", positive=number == 0)
        rules += _strand(dead, at[1], f"dead {number} with")
    for n, (number, i) in enumerate(plan.branches):
        rules.append(Rule((_live(number, i, plan.level),), f"branch {n}"))
    return World(tuple(facts), tuple(rules), ("asked", "asked"))


def _live(side: int, i: int, level: int) -> str:
    return "asked" if i == level else f"live {side} {i}"


def _strand(chain: list[str], condition_at: int, condition: str, positive: bool = True) -> Iterator[Rule]:
    """Rules from each property of the chain to the next; the last one may conclude a negation."""
    for i in range(1, len(chain)):
        body = (chain[i - 1], condition) if i == condition_at else (chain[i - 1],)
        yield Rule(body, chain[i], positive or i < len(chain) - 1)


def draw_worlds(rng: random.Random, level: int, split: str) -> Iterator[World]:
    """Endless stories of one level whose skeletons belong to `split`; the three answers come equally often."""
    while True:
        plan = draw_plan(rng, level, rng.choice(ANSWERS))
        if split_of(plan.skeleton) == split:
            yield name_all(rng, build(plan))


def name_all(rng: random.Random, world: World) -> World:
    """The same world with names and properties drawn at random, and its sentences in random order."""
    people = sorted({person for person, _ in world.facts})
    roles = sorted({role for rule in world.rules for role in (*rule.body, rule.head)})
    person_names = dict(zip(people, rng.sample(PEOPLE, len(people)), strict=True))
    property_names = dict(zip(roles, rng.sample(PROPERTIES, len(roles)), strict=True))
    facts = [(person_names[person], property_names[role]) for person, role in world.facts]
    rules = [
        Rule(
            tuple(rng.sample([property_names[role] for role in rule.body], len(rule.body))),
            property_names[rule.head],
            rule.positive,
        )
        for rule in world.rules
    ]
    rng.shuffle(facts)
    rng.shuffle(rules)
    return World(tuple(facts), tuple(rules), (person_names[world.asked[0]], property_names[world.asked[1]]))


# Solving and telling -----------------------------------------------------------------------------------------------


def applied(world: World) -> list[Rule]:
    """Every rule that applies to the person asked about, in an order in which they can be applied."""
    derived = {holding for person, holding in world.facts if person == world.asked[0]}
    waiting, applied_rules = list(world.rules), list[Rule]()
    while ready := [rule for rule in waiting if derived.issuperset(rule.body)]:
        waiting = [rule for rule in waiting if rule not in ready]
        applied_rules += ready
        derived.update(rule.head for rule in ready if rule.positive)
    return applied_rules


def solve(world: World) -> tuple[str, list[Rule]]:
    """The answer, and the rules that show it: those of the proof, or all that apply where the answer is unknown."""
    if world.asked in world.facts:
        return "true", []
    rules = applied(world)
    last = next((rule for rule in rules if rule.head == world.asked[1]), None)
    if last is None:
        return "unknown", rules
    needed, proof = set(last.body), [last]
    for rule in reversed(rules[: rules.index(last)]):
        if rule.positive and rule.head in needed:
            needed.update(rule.body)
            proof.append(rule)
    return ("true" if last.positive else "false"), proof[::-1]


def tell(world: World) -> str:
    """The question's text: facts, rules, and what is asked."""
    subject, conclusion = world.asked
    facts = [f"{person} is {trait}." for person, trait in world.facts]
    rules = [f"If someone is {' and '.join(rule.body)}, they are {_literal(rule)}." for rule in world.rules]
    question = f"Is it true that {subject} is {conclusion}? Answer true, false or unknown."
    return " ".join([*facts, *rules, question])


def write_solution(world: World, answer: str, proof: list[Rule]) -> str:
    """The chain of thought: one sentence for each rule, the final answer on the next line."""
    person, conclusion = world.asked
    steps = [f"{person} is {' and '.join(rule.body)}, so {person} is {_literal(rule)}." for rule in proof]
    if answer == "unknown":
        steps.append(f"Nothing else follows for {person}, so nothing says whether {person} is {conclusion}.")
    return f"{' '.join(steps)}\n#### {answer}"


def _literal(rule: Rule) -> str:
    return rule.head if rule.positive else f"not {rule.head}"


# The task ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeductionTask:
    """Deductions of `levels` rules. The same options give the same problems on every machine.

    Attributes:
        sizes: problems a split.
        levels: level -> weight; the weights are shares once they are divided by their sum. At each level the three
            answers are equally frequent (up to one problem).
        seed: draws other stories, names and properties, from the same buckets.
        wording: one of WORDINGS.
    """

    sizes: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    levels: Mapping[int, float] = field(default_factory=lambda: dict.fromkeys(LEVELS, 1.0))
    seed: int = 0
    wording: str = "full"
    name: str = "deduction"
    answer_rule: str = "gsm8k"
    splits: tuple[str, ...] = tuple(DEFAULT_SIZES)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "DeductionTask":
        """The task as an experiment sets it up.

        Options:
            train_1 (int >= 1; 1000): size of the split [questions]
            train_2 (int >= 1; 1000): size of the split [questions]
            dev (int >= 1; 500): size of the split [questions]
            test (int >= 1; 500): size of the split [questions]
            levels (list of int from 1 to 6, or level: weight; [1, 2, 3, 4, 5, 6]): rules of a proof, in equal shares or
                by weight
            seed (int >= 0; 0): draws other stories, names and properties
            wording (full | brief; full): the sentences in which facts and rules are told
        """
        levels = dict.fromkeys(LEVELS, 1.0)
        settings = read_options("deduction", options, DEFAULT_SIZES, levels, LEVELS, own=("wording",))
        wording = options.get("wording", WORDINGS[0])
        if wording not in WORDINGS:
            raise UserError(f"task 'deduction': {unknown('wording', str(wording), list(WORDINGS))}")
        return cls(settings.sizes, settings.levels, settings.seed, wording)

    def load(self, split: str) -> list[Problem]:
        """The problems of one split, in an order that mixes levels and answers; no two have the same question.

        Raises:
            UserError: unknown split.
        """
        if split not in self.sizes:
            raise UserError(f"task 'deduction': {unknown('split', split, list(self.splits))}")
        rng = random.Random(f"deduction-{self.seed}-{split}")
        drawn: dict[str, tuple[Plan, World]] = {}
        for level, answer in _cells(self.sizes[split], self.levels):
            size = len(drawn)
            while len(drawn) == size:
                plan = draw_plan(rng, level, answer)
                if split_of(plan.skeleton) == split:
                    world = name_all(rng, build(plan))
                    drawn.setdefault(self._tell(world), (plan, world))
        stories = list(drawn.items())
        rng.shuffle(stories)
        return [
            self._problem(f"{split}-{i:05d}", question, plan, world)
            for i, (question, (plan, world)) in enumerate(stories)
        ]

    def _tell(self, world: World) -> str:
        return tell_brief(world) if self.wording == "brief" else tell(world)

    def _problem(self, name: str, question: str, plan: Plan, world: World) -> Problem:
        answer, proof = solve(world)
        solution = write_search(world) if self.wording == "brief" else write_solution(world, answer, proof)
        return Problem(name, question, answer, solution, plan.level, plan.skeleton)


def _cells(size: int, levels: Mapping[int, float]) -> Iterator[tuple[int, str]]:
    """Level and answer of each problem: levels by weight (largest remainder), answers in turn."""
    turns = (level for level, count in apportion(size, levels).items() for _ in range(count))
    for i, level in enumerate(turns):
        yield level, ANSWERS[i % len(ANSWERS)]
