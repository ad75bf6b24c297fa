"""What a method is to the harness: its fields, its graph of steps, and what its results mean."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakValueDictionary

from w2s_core.engine import Handle
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.models import base_of
from w2s_core.plugins import NAME, RECIPES
from w2s_core.recipes.unused_fields import check_fields_are_read
from w2s_core.sampling.generation_config import applied
from w2s_core.sampling.limits import check_sampling
from w2s_core.steps.grade import grade
from w2s_core.steps.sample import as_text, sample

Kind = Literal["greedy", "samples", "labels", "data"]
Role = Literal["floor", "ceiling", "baseline", "control", "variant", "method"]
ROLES: tuple[Role, ...] = ("floor", "ceiling", "baseline", "control", "variant", "method")
C = TypeVar("C", bound=Experiment)


@dataclass(frozen=True, slots=True)
class Outline:
    """What a run's record keeps of a target, besides its key.

    Attributes:
        kind: greedy (one graded response a question), samples (several), labels (a graded set of training
            questions), data (any other result that reports read).
        name: unique among the targets of its kind and split.
        title: what tables call it.
        role: what a judged model is to the method: floor and ceiling bound the gap that is to be recovered; a
            baseline or control is compared with; a variant is a model on the way; a method is what is proposed.
        split: the split that a model is judged on.
    """

    kind: Kind
    name: str
    title: str
    role: Role | None = None
    split: str | None = None

    @property
    def label(self) -> str:
        """`greedy/test/dpo`, `labels/agreed_1`, `pairs`: what records and commands call the target."""
        if self.kind == "data":
            return self.name
        return f"{self.kind}/{self.split}/{self.name}" if self.split else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Target(Outline):
    """A result that a run is to produce."""

    handle: Handle = field(kw_only=True)


class Named(dict[str, Handle]):
    """Handles by name; a name that is none of them is an error that says which there are.

    Attributes:
        origin: where the names come from, for that message.
    """

    def __init__(self, handles: Mapping[str, Handle], origin: str) -> None:
        super().__init__(handles)
        self.origin = origin

    def __missing__(self, name: str) -> Handle:
        # No UserError: `RECIPES.guard` adds the recipe's name and the line that asks.
        raise LookupError(f"'{name}' is not named by {self.origin}: {', '.join(self)}")


@dataclass(frozen=True)
class Given:
    """Handles of what a method starts from. Questions and gold are apart, so that gold cannot slip into a prompt.

    Attributes:
        questions, gold: by split.
        base: base models by the field that names them.
        rule: how final answers are read.
    """

    questions: Mapping[str, Handle]
    gold: Mapping[str, Handle]
    base: Mapping[str, Handle]
    rule: str

    def __post_init__(self) -> None:
        splits = "the recipe's `splits` and evaluation.splits"
        for part, origin in (("questions", splits), ("gold", splits), ("base", "the recipe's `models`")):
            object.__setattr__(self, part, Named(getattr(self, part), origin))


@dataclass(frozen=True)
class Answerer:
    """A model and how it is asked: zero-shot, or after demonstrations."""

    model: Handle
    demonstrations: Handle | None = None


class Targets:
    """Collects the targets of a recipe, in the order in which reports list them."""

    def __init__(self, experiment: Experiment, given: Given) -> None:
        self._experiment = experiment
        self._given = given
        self._judged: list[tuple[str, Answerer, str, Role, bool]] = []
        self._others: list[Target] = []

    def judge(self, name: str, answerer: Answerer, *, title: str, role: Role, samples: bool = False) -> None:
        """Evaluate a model on every evaluation split: greedily, and with `samples` for pass@k and votes too."""
        self._check_words(name, title)
        if role not in ROLES:
            raise self._error(name, f"has the role '{role}', which is none of {', '.join(ROLES)}")
        self._judged.append((name, answerer, title, role, samples))

    def label(
        self, name: str, responses: Handle, split: str, *, title: str, column: str = "responses"
    ) -> None:
        """Grade a set of responses to training questions; gold enters this grade only."""
        self._check_words(name, title)
        graded = grade(
            responses=responses, gold=self._given.gold[split], rule=self._given.rule, column=column
        )
        self._others.append(Target("labels", name, title, handle=graded))

    def keep(self, name: str, handle: Handle, *, title: str) -> None:
        """Keep a result that reports read: pairs, votes."""
        self._check_words(name, title)
        if not isinstance(handle, Handle):
            raise self._error(name, f"must be what a step gives, not of type {type(handle).__name__}")
        self._others.append(Target("data", name, title, handle=handle))

    def all(self) -> dict[str, Target]:
        """The targets by label.

        Raises:
            UserError: a label is given twice.
        """
        targets: dict[str, Target] = {}
        for target in [*self._evaluations(), *self._others]:
            label = target.label
            if label in targets:
                raise UserError(
                    f"recipe '{self._experiment.recipe}' names the target '{label}' twice: "
                    "each needs a name of its own"
                )
            targets[label] = target
        return targets

    def check_judged(self, names: Iterable[str], where: str) -> None:
        """Raise UserError for a name that is no judged model's; `where`: the part of the recipe that names it."""
        judged = [name for name, *_ in self._judged]
        for name in names:
            if name not in judged:
                raise UserError(
                    f"recipe '{self._experiment.recipe}': its `{where}` names '{name}', which it does not judge; "
                    f"judged: {', '.join(judged) or 'none'}"
                )

    def _check_words(self, name: str, title: str) -> None:
        if problem := _problem_of_words(name, title):
            raise self._error(name, problem)

    def _error(self, name: str, problem: str) -> UserError:
        return UserError(f"recipe '{self._experiment.recipe}': its target '{name}' {problem}")

    def _evaluations(self) -> list[Target]:
        evaluation = self._experiment.evaluation
        asked = _how_asked(self._experiment)
        targets = []
        for split in evaluation.splits:
            for name, answerer, title, role, sampled in self._judged:
                greedy = self._evaluated(answerer, split, 1, asked)
                targets.append(Target("greedy", name, title, role, split, handle=greedy))
                if sampled and evaluation.samples:
                    drawn = self._evaluated(answerer, split, evaluation.samples, asked)
                    targets.append(Target("samples", name, title, role, split, handle=drawn))
        return targets

    def _evaluated(self, answerer: Answerer, split: str, n: int, asked: str) -> Handle:
        """The grade of a model's responses, the same handle while it is in use: cells of a study share most of them."""
        questions, gold = self._given.questions[split], self._given.gold[split]
        # The grade stands on these handles, so that they live, and keep their identities, as long as it does.
        handles = (answerer.model, answerer.demonstrations, questions, gold)
        place = (*map(id, handles), self._given.rule, n, asked)
        graded = _EVALUATIONS.get(place)
        if graded is None:
            temperature = self._experiment.evaluation.temperature
            responses = answer(self._experiment, answerer, questions, n=n, temperature=temperature)
            graded = _EVALUATIONS[place] = grade(responses=responses, gold=gold, rule=self._given.rule)
        return graded


_EVALUATIONS: WeakValueDictionary[tuple[object, ...], Handle] = WeakValueDictionary()


_OF_ANY_RECIPE = set(Experiment.model_fields)


def _how_asked(experiment: Experiment) -> str:
    """All that `answer` can read of an experiment: the fields that those of any recipe have."""
    return f"{experiment.model_dump_json(include=_OF_ANY_RECIPE)} {experiment.shipped}"


@lru_cache  # a study's cells have the same targets, thousands of times
def _problem_of_words(name: str, title: str) -> str | None:
    """What is wrong with a target's name or title; None if nothing is."""
    if not NAME.fullmatch(name):  # commands and records take labels apart at "/"
        return "can have letters, digits, '.', '_' and '-' in its name only"
    if not title.strip() or len(title.splitlines()) > 1:
        return f"needs a title of one line, not {title!r}"
    return None


def answer(
    experiment: Experiment, answerer: Answerer, questions: Handle, *, n: int = 1, temperature: float = 1.0
) -> Handle:
    """Responses of a model to questions: one greedy response each, or n sampled ones for n > 1.

    Raises:
        UserError: the experiment's engine cannot draw them (`w2s_core.sampling.limits`), or the settings of the
            model's base are asked for and not known.
    """
    temperature = temperature if n > 1 else 0.0
    settings: dict[str, float] = {}
    if experiment.generation_config:
        settings = applied(answerer.model, experiment.shipped, greedy=n == 1)
    check_sampling(
        experiment.engine, answerer.model, n=n, temperature=temperature, generation=settings.keys()
    )
    drawn = {"n": n, "seed": experiment.seed} if n > 1 else {}
    demonstrations = answerer.demonstrations
    if demonstrations and experiment.demonstrations == "text" and chats(answerer.model):
        demonstrations = as_text(demonstrations=demonstrations)
    return sample(
        model=answerer.model,
        questions=questions,
        demonstrations=demonstrations,
        max_new_tokens=experiment.max_new_tokens,
        engine=experiment.sampling_engine,
        precision=experiment.precision,
        temperature={"temperature": temperature, **settings} if settings else temperature,
        **drawn,
    )


def chats(model: Handle) -> bool:
    """Whether a planned model is asked by its chat template."""
    return (base_of(model).params.get("prompt") or {}).get("form") == "chat"


@dataclass(frozen=True)
class Recipe(Generic[C]):
    """A method.

    Attributes:
        name: what experiments call it (`recipe: NAME`).
        summary: one line for `w2s recipes`.
        fields: its experiment file; a subclass of `Experiment` that adds the method's own fields.
        models: the fields that name base models.
        splits: the splits that it trains on; those of `evaluation.splits` are added.
        build: the method itself, a plain function of steps. It calls the methods of its `Targets`.
        final: the name of the model that a study's `accuracy` means.
        rungs: names of models, in order, after whose grade a pruner may give a trial up.
        outputs: fields that decide which targets there are and nothing of what they hold: runs that differ in these
            alone are one experiment.
        report: "module:attribute" of the `w2s_analysis` parts that the method adds to a report; "" for none.
        old_outline: the targets of records that were written before records kept them, from their labels.
    """

    name: str
    summary: str
    fields: type[C]
    models: tuple[str, ...]
    splits: tuple[str, ...]
    build: Callable[[C, Given, Targets], None]
    final: Callable[[C], str]
    rungs: Callable[[C], Sequence[str]] = lambda experiment: ()
    outputs: tuple[str, ...] = ()
    report: str = ""
    old_outline: Callable[[Sequence[str]], list[Outline]] | None = None

    def __post_init__(self) -> None:
        if not issubclass(self.fields, Experiment):
            raise UserError(f"recipe '{self.name}': {self.fields.__name__} must be a subclass of Experiment")
        if missing := [name for name in self.models if name not in self.fields.model_fields]:
            raise UserError(
                f"recipe '{self.name}': {self.fields.__name__} has no field '{missing[0]}', which models name"
            )

    def targets(self, experiment: C, given: Given) -> dict[str, Target]:
        """The targets of an experiment by label. Computes no step.

        Raises:
            UserError: a target named twice, steps wired to results of the wrong kind, a field that nothing reads,
                a model that `final` or `rungs` name and nothing judges, or for a plug-in any other error of its code.
        """
        with RECIPES.guard(experiment.recipe):
            check_fields_are_read(self.name, self.fields, self.models, self.build)
            targets = Targets(experiment, given)
            self.build(experiment, given, targets)
            planned = targets.all()
            targets.check_judged(self.rungs(experiment), "rungs")
            targets.check_judged(self._final_names(experiment), "final")
            return planned

    def _final_names(self, experiment: C) -> tuple[str, ...]:
        # Of several methods there may be no final one: an error for studies alone.
        try:
            return (self.final(experiment),)
        except UserError:
            return ()


def outline_entry(target: Outline) -> dict[str, Any]:
    """A target as a record keeps it."""
    return {part: getattr(target, part) for part in ("kind", "name", "title", "role", "split")}
