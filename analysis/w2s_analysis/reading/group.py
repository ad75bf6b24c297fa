"""One experiment over its seeds, as aligned tables of scores: what every table and finding stands on."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.recipes import ONLY_MODEL
from w2s_analysis.reading.results import UNGRADED, Graded, Ints, Pairs, Questions, Results
from w2s_analysis.reading.titles import distinct, without_alias
from w2s_core.errors import UserError
from w2s_core.recipes.recipe import Outline, Role
from w2s_core.statistics import Bounds, Estimate, bounded_score, score
from w2s_core.statistics.scores import pass_at_k

Args = ParamSpec("Args")
Value = TypeVar("Value")
Floats = npt.NDArray[np.float64]
PASS_K = 10


@dataclass(frozen=True)
class Member:
    """One seed of an experiment: a run, or several that share their results, put together.

    Attributes:
        targets: keys by label.
        commands: what was typed for each run.
        command_for: by label, the command of a run that has this target, so that it can compute it.
    """

    name: str
    seed: int
    runs: tuple[str, ...]
    targets: dict[str, str]
    commands: tuple[str, ...]
    command_for: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Group:
    """One experiment over its seeds: one recipe, its base models and its settings.

    Attributes:
        name: the subject, and what else tells the group from the others of its frame.
        subject: what a study compares: the first of the recipe's base models, and where that was prepared in several
            ways, in which.
        models: the names of the base models by field, in order of the recipe.
        members: in order of their seeds.
        split: of the questions that `table` speaks of.
        outline: what the targets are, in order.
        sizes: the number of questions by split, as recorded.
        settings: the experiment, flat, without the fields that only decide which results there are.
        memo: what was computed of the group already, see `once`.
    """

    name: str
    recipe: str
    subject: str
    models: dict[str, str]
    task: str
    members: list[Member]
    split: str
    outline: list[Outline]
    sizes: dict[str, float]
    settings: dict[str, Any]
    results: Results
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def lead(self) -> str:
        """The field of the first base model, by which a study's groups are told apart."""
        return next(iter(self.models), ONLY_MODEL)

    @property
    def base(self) -> str:
        """The subject's base model alone."""
        return self.models.get(self.lead, "?")

    @property
    def companions(self) -> dict[str, str]:
        """The other base models by field; no table mixes several of them."""
        return {field_name: name for field_name, name in self.models.items() if field_name != self.lead}

    @property
    def described(self) -> str:
        """The group and its base models, for titles: `weak llama, strong big`."""
        return ", ".join(f"{part} {name}" for part, name in {self.lead: self.name, **self.companions}.items())

    @property
    def runs(self) -> list[str]:
        """The members' names."""
        return [member.name for member in self.members]

    @property
    def seeds(self) -> list[int]:
        """The members' seeds."""
        return [member.seed for member in self.members]

    @property
    def all_runs(self) -> list[str]:
        """The names of all runs behind the members."""
        return [run for member in self.members for run in member.runs]

    @property
    def commands(self) -> list[str]:
        """What was typed for these runs, each once."""
        return list(dict.fromkeys(command for member in self.members for command in member.commands))

    def on(self, split: str) -> "Group":
        """The same experiment, judged on another split."""
        return self if split == self.split else replace(self, split=split, memo={})

    # Which results there are

    @cached_property
    def labels(self) -> list[str]:
        """Every target that any member is to have."""
        return list(dict.fromkeys(label for member in self.members for label in member.targets))

    def planned(self, kind: str = "greedy") -> list[str]:
        """The models that any member is to evaluate on the split, whether they are there or not, in order."""
        return [entry.name for entry in self.outline if (entry.kind, entry.split) == (kind, self.split)]

    def sets(self) -> list[str]:
        """The labelled sets that any member is to have, in order."""
        return [entry.name for entry in self.outline if entry.kind == "labels"]

    # What they are to the method

    @cached_property
    def _judged(self) -> dict[str, Outline]:
        """The models that are judged, on whatever split, by name."""
        return {entry.name: entry for entry in reversed(self.outline) if entry.kind in ("greedy", "samples")}

    @cached_property
    def _titles(self) -> dict[str, str]:
        return distinct({name: entry.title for name, entry in self._judged.items()})

    @cached_property
    def _short_titles(self) -> dict[str, str]:
        return distinct({name: without_alias(entry.title) for name, entry in self._judged.items()})

    def title(self, method: str) -> str:
        """What tables call a model that is judged."""
        return self._titles.get(method, method)

    def short_title(self, method: str) -> str:
        """The same without an alias."""
        return self._short_titles.get(method, method)

    def set_title(self, name: str) -> str:
        """What tables call a labelled set."""
        return next((e.title for e in self.outline if (e.kind, e.name) == ("labels", name)), name)

    def role(self, method: str) -> Role | None:
        """What a model is to the method."""
        return self._judged[method].role if method in self._judged else None

    def with_role(self, *roles: Role) -> list[str]:
        """The models on the split that have one of these roles, in order."""
        return [name for name in self.planned() if self.role(name) in roles]

    def bounds(self) -> tuple[str, str] | None:
        """The floor and the ceiling, between which the gap lies; None where the split lacks one of them."""
        floor, ceiling = self.with_role("floor"), self.with_role("ceiling")
        return (floor[0], ceiling[0]) if floor and ceiling else None

    @property
    def reference(self) -> str | None:
        """The model that others are compared with: the first that the method proposes."""
        return next(iter(self.with_role("method")), None)

    def having(self, *labels: str) -> list[str]:
        """The names of the members that have all of these targets in the store."""
        return [
            member.name
            for member in self.members
            if all(label in member.targets and self.results.has(member.targets[label]) for label in labels)
        ]

    def present(self, *methods: str, k: int = 1) -> list[str]:
        """The names of the members that have all of these methods: greedily, or with k samples a question for k > 1."""
        labels = [self._label(method, k) for method in methods]
        names = self.having(*labels)
        return (
            names
            if k == 1
            else [name for name in names if all(self._drawn(label, name) >= k for label in labels)]
        )

    def drawing_fewer(self, k: int) -> dict[str, int]:
        """The members with fewer than k samples to some question, and how many they have."""
        labels = [self._label(method, k) for method in self.planned("samples")]
        drawn = {
            name: min(self._drawn(label, name) for label in labels if name in self.having(label))
            for name in dict.fromkeys(name for label in labels for name in self.having(label))
        }
        return {name: count for name, count in drawn.items() if count < k}

    def _drawn(self, label: str, name: str) -> int:
        """Samples that every question has."""
        return int(self.graded(label, name).n.min(initial=sys.maxsize))

    def absent(self) -> list[tuple[str, str]]:
        """(label, member) of all that is missing in the store: the split's, and what is of no split."""
        return [
            (label, member.name)
            for member in self.members
            for label, key in member.targets.items()
            if self.concerns(label) and not self.results.has(key)
        ]

    def concerns(self, label: str) -> bool:
        """Whether a target is of the split, or of none."""
        kind, _, rest = label.partition("/")
        return kind not in ("greedy", "samples") or rest.startswith(f"{self.split}/")

    def _label(self, method: str, k: int) -> str:
        return f"{'samples' if k > 1 else 'greedy'}/{self.split}/{method}"

    # What they are

    def member(self, name: str) -> Member:
        """A member by its name."""
        return next(member for member in self.members if member.name == name)

    def graded(self, label: str, member: str) -> Graded:
        """A graded set of a member that has it."""
        return self.results.graded(self.member(member).targets[label])

    def pairs(self, member: str) -> Pairs:
        """The pairs of a member that has them."""
        targets = self.member(member).targets
        sides = {side: targets.get(f"labels/pairs_{side}") for side in ("chosen", "rejected")}
        known = {side: key if key and self.results.has(key) else None for side, key in sides.items()}
        return self.results.pairs(targets["pairs"], known)

    def table(self, method: str, *, k: int = 1, runs: Sequence[str] | None = None) -> Floats:
        """Scores of a method, shape [seeds, questions]: greedy accuracy, or pass@k from samples for k > 1.

        A member whose result is missing is left out: `present` says which are there.

        Raises:
            UserError: results on different questions, or a question that stands twice.
        """
        names = self.present(method, k=k) if runs is None else runs
        return self._stacked([self._row(method, k, name) for name in names])

    def best_table(self, method: str, *, k: int = 1, runs: Sequence[str] | None = None) -> Floats:
        """The same where every response that was not graded counts as right (see `Graded.ungraded`)."""
        names = self.present(method, k=k) if runs is None else runs
        return self._stacked([self._row(method, k, name, best=True) for name in names])

    def _stacked(self, rows: list[Floats]) -> Floats:
        return np.stack(rows) if rows else np.empty((0, len(self.ids)))

    def _row(self, method: str, k: int, name: str, *, best: bool = False) -> Floats:
        place = ("row", method, k, name, best)
        if place not in self.memo:
            graded = self.graded(self._label(method, k), name)
            scores = _scores(graded.n, graded.c + graded.ungraded if best else graded.c, k)
            order = self._aligned(graded.questions, f"{method} of run {name}")
            self.memo[place] = scores if order is None else scores[order]
        row: Floats = self.memo[place]
        return row

    def _aligned(self, questions: Questions, where: str) -> npt.NDArray[np.int64] | None:
        """How to order the rows of a result like the group's questions; None where they are so already."""
        reference = self.questions
        if questions is reference:
            return reference.order
        ids = [questions.ids[i] for i in questions.order] if questions.order is not None else questions.ids
        if ids != self.ids:
            from w2s_core.statistics import same_ids

            same_ids(set(self.ids), set(ids), (f"the other results on {self.split}", where))
            raise UserError(f"{where}: a question stands twice")
        return questions.order

    # Of which questions

    @cached_property
    def _first(self) -> Graded | None:
        """The first result on the split: its questions are those that all others must have."""
        for kind in ("greedy", "samples"):
            for method in self.planned(kind):
                label = f"{kind}/{self.split}/{method}"
                for name in self.having(label):
                    graded = self.graded(label, name)
                    _once_each(graded.questions, f"{method} of run {name}")
                    return graded
        return None

    @cached_property
    def questions(self) -> Questions:
        """The questions of the split, as the first result has them; none where there is no result yet."""
        return self._first.questions if self._first else Questions([])

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the questions of the split, in order."""
        return self.questions.ordered(self.questions.ids)

    @cached_property
    def levels(self) -> list[Any]:
        """Their levels; None for a question without."""
        return self.questions.ordered(self._first.levels) if self._first else []

    @property
    def clusters(self) -> Ints | None:
        """The number of each question's template; None where no question has one."""
        return self._first.clusters if self._first else None

    def clusters_at(self, chosen: npt.NDArray[np.bool_]) -> list[int] | None:
        """The clusters of some questions; not every number need be among them."""
        return self.clusters[chosen].tolist() if self.clusters is not None else None

    def counts(self, kind: str) -> dict[str, int]:
        """Responses of a kind on the split, and how many were unparsed, timed out, truncated, undecided."""
        totals = {"responses": 0, "unparsed": 0, "timed_out": 0, "truncated": 0, "undecided": 0}
        for method in self.planned(kind):
            label = f"{kind}/{self.split}/{method}"
            for name in self.having(label):
                graded = self.graded(label, name)
                totals["responses"] += len(graded.verdicts)
                totals["truncated"] += int(graded.truncated.sum())
                for verdict in UNGRADED:
                    totals[verdict] += int(graded.count(verdict).sum())
        return totals


def _once_each(questions: Questions, where: str) -> None:
    if len(questions.index) < len(questions.ids):
        twice = next(name for i, name in enumerate(questions.ids) if questions.index[name] != i)
        raise UserError(f"grades of {where}: question '{twice}' stands twice")


def _scores(n: Ints, c: Ints, k: int) -> Floats:
    if k == 1:
        return np.asarray(c / n, dtype=np.float64)
    known = {pair: pass_at_k(*pair, k) for pair in {*zip(n.tolist(), c.tolist(), strict=True)}}
    return np.array([known[pair] for pair in zip(n.tolist(), c.tolist(), strict=True)], dtype=np.float64)


def planned_methods(groups: Sequence[Group]) -> set[str]:
    """The models that any of the groups is to evaluate, whether they are there or not."""
    return {method for group in groups for method in group.planned()}


def names_of(groups: Sequence[Group]) -> str:
    """The groups' names, one after another; with semicolons where a name has a comma itself."""
    names = [group.name for group in groups]
    return ("; " if any("," in name for name in names) else ", ").join(names)


def once(
    make: Callable[Concatenate[Group, Args], Value],
) -> Callable[Concatenate[Group, Args], Value]:
    """Remember what a function makes of a group, since several tables and figures show the same numbers."""

    @wraps(make)
    def remembered(group: Group, /, *args: Args.args, **kwargs: Args.kwargs) -> Value:
        place = (make.__module__, make.__qualname__, args, tuple(sorted(kwargs.items())))
        if place not in group.memo:
            group.memo[place] = make(group, *args, **kwargs)
        value: Value = group.memo[place]
        return value

    return remembered


def shared(group: Group, labels: Sequence[str], topic: object, make: Callable[[], Value]) -> Value:
    """Remember what is made of some targets of a group, and of `what`, for all groups that have the same results."""
    keys = (tuple(member.targets.get(label) for label in labels) for member in group.members)
    place = (topic, *keys)
    memo = group.results.memo
    if place not in memo:
        memo[place] = make()
    value: Value = memo[place]
    return value


def accuracy_estimate(group: Group, method: str) -> Estimate | None:
    """A method's greedy accuracy on the split, over seeds and questions; None where it is missing.

    Raises:
        UserError: results on different questions.
    """
    if not group.present(method):
        return None
    return shared(
        group,
        [f"greedy/{group.split}/{method}"],
        ("accuracy", group.questions),
        lambda: replace(score(group.table(method), group.clusters), bounds=accuracy_bounds(group, method)),
    )


def accuracy_bounds(group: Group, method: str, k: int = 1) -> Bounds | None:
    """Between which bounds a method's accuracy (or pass@k) lies, whatever the responses that were not graded are.

    None where it is missing, or all responses were graded.
    """
    if not group.present(method, k=k):
        return None
    return shared(
        group,
        [f"{'samples' if k > 1 else 'greedy'}/{group.split}/{method}"],
        ("bounds", k, group.questions),
        lambda: _bounds(group, method, k),
    )


def _bounds(group: Group, method: str, k: int) -> Bounds | None:
    worst, best = group.table(method, k=k), group.best_table(method, k=k)
    return None if np.array_equal(worst, best) else bounded_score(worst, best, group.clusters)
