"""What a deduction is about: facts on people, rules on properties, and one fact that is asked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Whoever has every property of `body` has `head`; or has it not, where `positive` is false."""

    body: tuple[str, ...]
    head: str
    positive: bool = True


@dataclass(frozen=True)
class World:
    """Facts (person, property) and rules, and the fact that the question asks about."""

    facts: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]
    asked: tuple[str, str]
