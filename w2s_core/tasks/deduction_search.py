"""Deductions in few words: the brief wording, and a proof search written down as it goes.

The brief wording is telegraphic: "Bimo dax" for "Bimo is dax", "Every dax and kiv not fep" for the rule that who is dax
and kiv is not fep. What follows from a property stands straight behind it, in the rule as in the search: finding the
next step is then the simplest look-up that a small model can learn ("dax" came before, "fep" came after it).

The shortest proof cannot be found without trying others first, and a small model has no place but its answer to try
them in. So here the answer is the whole search, forward and depth first: each fact about the person in the order told,
each followed as far as rules lead, until the question is decided or nothing is left. Every step hangs on what stands
in the text, so that it can be learned, and each fault of a reasoner has its place in it.
"""

from collections.abc import Set
from dataclasses import dataclass, field

from w2s_core.tasks.facts_and_rules import Rule, World

FAULTS = (
    "negation_dropped",
    "second_premise_ignored",
    "others_counted",
    "first_fact_only",
    "two_rules_only",
    "unknown_is_false",
)
"""How a reasoner can err: reads "every dax not fep" as "every dax fep"; applies a rule of two premises where one is
known, and names only that; takes what is told of others for told of the person; gives up after the first fact; follows
no fact further than two rules; holds for false what does not follow. Affirming the consequent is not among them: what
is told in these stories is never the conclusion of a rule, so it would not show."""

Chain = tuple[str, tuple[Rule, ...]]
"""A property that the person has, and the rules followed from there."""


@dataclass
class _Search:
    """One search. `known`: properties told or derived. `open`: rules not yet applied, in the order told."""

    asked: str
    known: set[str]
    open: list[Rule]
    faults: Set[str]
    chains: list[Chain] = field(default_factory=list)
    verdict: str = ""

    def follow(self, start: str) -> None:
        """Follow a fact. Where several rules lead on, the first is followed to its end before the next."""
        self.chains.append((start, ()))
        again = [start]
        while again and not self.verdict:
            self._chain(again)

    def _chain(self, again: list[str]) -> None:
        """One chain from the last property of `again`, which is left there if more rules lead on from it."""
        start = here = again.pop()
        path: list[Rule] = []
        longest = 2 if "two_rules_only" in self.faults else len(self.open)
        while not self.verdict and len(path) < longest and (ready := self._ready(here)):
            path.append(ready[0])
            self.open.remove(ready[0])
            if len(ready) > 1:
                again.append(here)
            here = ready[0].head
            self.known.add(here)
            if here == self.asked:
                positive = ready[0].positive or "negation_dropped" in self.faults
                self.verdict = "true" if positive else "false"
        if path and not self.chains[-1][1] and self.chains[-1][0] == start:
            self.chains[-1] = (start, tuple(path))
        elif path:
            self.chains.append((start, tuple(path)))

    def _ready(self, here: str) -> list[Rule]:
        ignoring = "second_premise_ignored" in self.faults
        return [
            rule for rule in self.open if here in rule.body and (ignoring or self.known.issuperset(rule.body))
        ]


def search(world: World, faults: Set[str] = frozenset()) -> tuple[str, list[Chain]]:
    """The answer of a reasoner with these faults, and the chains that he follows. Without faults it is the gold one."""
    person, asked = world.asked
    facts = [trait for subject, trait in world.facts if subject == person or "others_counted" in faults]
    reasoning = _Search(asked, set(facts), list(world.rules), faults)
    for fact in facts[:1] if "first_fact_only" in faults else facts:
        if not reasoning.verdict:
            reasoning.follow(fact)
    nothing = "false" if "unknown_is_false" in faults else "unknown"
    return reasoning.verdict or nothing, reasoning.chains


def tell_brief(world: World) -> str:
    """The question's text in few words: "Bimo dax. Every dax and kiv fep. Every fep not mip. Bimo mip?"."""
    return f"{tell_world(world)} {world.asked[0]} {world.asked[1]}?"


def tell_world(world: World) -> str:
    """Facts and rules in few words, without the question."""
    facts = [f"{person} {trait}." for person, trait in world.facts]
    return " ".join([*facts, *(f"Every {' and '.join(rule.body)} {_head(rule)}." for rule in world.rules)])


def _head(rule: Rule) -> str:
    return rule.head if rule.positive else f"not {rule.head}"


def write_search(world: World, faults: Set[str] = frozenset()) -> str:
    """The search as text, a sentence a chain; the final answer on the next line."""
    answer, chains = search(world, faults)
    person = world.asked[0]
    sentences = [f"{person} {start}{_links(start, path, faults)}." for start, path in chains]
    decided = any(rule.head == world.asked[1] for _, path in chains for rule in path)
    if not decided:
        sentences.append("Nothing else follows.")
    return f"{' '.join(sentences)}\n#### {answer}"


def _links(start: str, path: tuple[Rule, ...], faults: Set[str]) -> str:
    """What each rule says behind the property from which it is reached: " fep", " and kiv fep", " not fep"."""
    links, here = "", start
    for rule in path:
        first_of_two = here == rule.body[0] and len(rule.body) > 1
        if first_of_two and "second_premise_ignored" not in faults:
            links += f" and {rule.body[1]}"
        links += f" {rule.head if 'negation_dropped' in faults else _head(rule)}"
        here = rule.head
    return links
