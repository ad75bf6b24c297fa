"""The recorded recipe of the base models: one YAML file, read strictly."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from w2s_core.errors import UserError
from w2s_core.lab.authors import AuthorKind
from w2s_core.lab.domains import DOMAINS
from w2s_core.strict_yaml import read_yaml

LATER = {"task", "fewest", "rope_theta", "initial", "tied", "before"}
"""Fields that came after the first bases were made."""


class Section(BaseModel):
    """A part of the recipe; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Authors(Section):
    """One kind of author: see `authors.AuthorKind`."""

    share: float = Field(gt=0)
    trait: float = Field(ge=0, le=1)
    applies: float = Field(default=1.0, ge=0, le=1)


class Texts(Section):
    """What a base reads."""

    task: Literal["mini", "deduction", "drills"] | None = Field(
        default=None, description="if not the recipe's"
    )
    authors: dict[str, Authors] = Field(min_length=1)
    traits: dict[str, float] = Field(default={}, description="weight of a trait; 1 where it is not named")
    levels: dict[int, float] = Field(min_length=1, description="level -> weight")
    questions: int = Field(ge=1, description="questions a document")
    fewest: int | None = Field(default=None, ge=1, description="documents grow from here up to `questions`")
    question_weight: float = Field(
        default=1.0, gt=0, description="loss weight of a question's tokens; answers have 1"
    )

    @model_validator(mode="after")
    def _fewest_is_less(self) -> "Texts":
        if self.fewest is not None and self.fewest >= self.questions:
            raise ValueError(f"fewest ({self.fewest}) must be less than questions ({self.questions})")
        return self

    def kinds(self) -> list[AuthorKind]:
        """The kinds of author, in the recipe's order."""
        return [AuthorKind(kind.share, kind.trait, kind.applies) for kind in self.authors.values()]


class Reading(Section):
    """Texts that a base reads for a while."""

    texts: str = Field(description="a name under `texts`")
    steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(ge=1, description="documents a step")


class Base(Section):
    """One base model: its architecture, how long it reads, and what."""

    architecture: Literal["llama", "mistral", "qwen2"]
    hidden: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    key_value_heads: int = Field(ge=1)
    intermediate: int = Field(ge=8)
    steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(ge=1, description="documents a step")
    learning_rate: float = Field(gt=0, description="peak; linear warm-up, then cosine to zero")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(default=0.1, ge=0)
    precision: Literal["float32", "bfloat16"] = Field(description="bfloat16 = autocast; changes the result")
    threads: int = Field(default=1, ge=1, description="torch threads; changes the order of sums")
    seed: int = 0
    texts: str = Field(description="a name under `texts`")
    initial: float = Field(default=0.02, gt=0, description="standard deviation of the first weights")
    rope_theta: float = Field(default=10000.0, gt=1, description="base of the rotary positions' wave lengths")
    tied: bool = Field(default=True, description="one matrix for reading tokens and for predicting them")
    before: list[Reading] = Field(
        default=[], description="what it reads first, in order; `steps` counts it too"
    )

    def reading(self, step: int) -> tuple[Reading, float]:
        """What is read at a step, and how much of that was read before it, from 0 to 1."""
        for reading in self.before:
            if step < reading.steps:
                return reading, step / reading.steps
            step -= reading.steps
        last = Reading(texts=self.texts, steps=self.last_steps, batch_size=self.batch_size)
        return last, step / last.steps

    @property
    def last_steps(self) -> int:
        """Steps in which it reads `texts`."""
        return self.steps - sum(reading.steps for reading in self.before)


class Recipe(Section):
    """All bases of a lab."""

    task: Literal["mini", "deduction"] = "mini"
    context: int = Field(ge=64, description="longest text, in tokens")
    texts: dict[str, Texts]
    bases: dict[str, Base] = Field(min_length=1)

    @model_validator(mode="after")
    def _texts_exist(self) -> "Recipe":
        for name, base in self.bases.items():
            for texts in (*(reading.texts for reading in base.before), base.texts):
                if texts not in self.texts:
                    raise ValueError(f"base '{name}' reads texts '{texts}', which are not in the recipe")
            if base.last_steps < 1:
                raise ValueError(f"base '{name}': `steps` counts those of `before`, and must be more")
        return self

    @model_validator(mode="after")
    def _the_task_knows(self) -> "Recipe":
        for name, texts in self.texts.items():
            domain = DOMAINS[texts.task or self.task]
            if strange := sorted(set(texts.traits) - set(domain.traits)):
                raise ValueError(f"texts '{name}': unknown traits {strange}; known: {sorted(domain.traits)}")
            if beyond := sorted(set(texts.levels) - set(domain.levels)):
                raise ValueError(f"texts '{name}': unknown levels {beyond}; known: {list(domain.levels)}")
        return self

    def spec(self, name: str) -> dict[str, object]:
        """Everything that decides the base called `name`, as JSON values."""
        base = self.bases[name]
        spec = {
            "name": name,
            "context": self.context,
            "base": _fields(base),
            "texts": _fields(self.texts[base.texts]),
        }
        if self.task != "mini":
            spec["task"] = self.task
        if base.before:
            spec["before"] = [_fields(self.texts[reading.texts]) for reading in base.before]
        return spec

    def digest(self, name: str) -> str:
        """sha256 of the spec: a checkpoint or a finished base belongs to exactly one."""
        text = json.dumps(self.spec(name), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _fields(section: Section) -> dict[str, object]:
    """The fields as JSON values, without later ones at their defaults: earlier bases keep their digests."""
    fields = type(section).model_fields
    omitted = {name for name in LATER & set(fields) if getattr(section, name) == fields[name].default}
    return section.model_dump(mode="json", exclude=omitted)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises UserError, one line, for a missing file, bad YAML or a bad field."""
    tree, _ = read_yaml(path, "a recipe")
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        # A mistyped name shows up twice, as unknown and as missing: the first of these is the one to mend.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        field = ".".join(map(str, first["loc"])) or "recipe"
        raise UserError(f"{path}: {field}: {first['msg']}") from None
