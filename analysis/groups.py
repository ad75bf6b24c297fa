"""Runs that differ in nothing but their seed, as aligned tables of scores: what every table and finding stands on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analysis.frame import Frames
from w2s_core.errors import UserError
from w2s_core.evaluation import pass_at_k

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
PASS_K = 10


@dataclass
class Group:
    """One experiment over its seeds.

    Attributes:
        name: the weak model, and what else tells the group from the others in the frame.
        runs, seeds: in order of the seeds.
        split: of the questions below.
        ids, levels, clusters: of the questions, in order of their ids; `clusters` is None without templates.
        troubles: kind -> counts of responses, unparsed, timed_out, truncated.
        scores: (method, kind, run) -> table of right responses c and drawn ones n, shape [questions].
    """

    name: str
    weak: str
    strong: str
    task: str
    runs: list[str]
    seeds: list[int]
    split: str
    train_2: float
    commands: list[str]
    settings: dict[str, Any]
    labels: "pd.DataFrame"
    pairs: "pd.DataFrame"
    targets: "pd.DataFrame"
    troubles: dict[str, dict[str, int]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    levels: list[Any] = field(default_factory=list)
    clusters: list[Any] | None = None
    scores: dict[tuple[str, str, str], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = field(
        default_factory=dict
    )

    def table(self, method: str, *, k: int = 1, runs: list[str] | None = None) -> Floats:
        """Scores of a method, shape [seeds, questions]: greedy accuracy, or pass@k from samples for k > 1.

        A run whose result is missing is left out: `present` says which are there.
        """
        rows = [self._row(method, k, run) for run in (runs or self.present(method, k=k))]
        return np.stack(rows) if rows else np.empty((0, len(self.ids)))

    def present(self, *methods: str, k: int = 1) -> list[str]:
        """The runs that have all of these methods."""
        kind = "samples" if k > 1 else "greedy"
        return [run for run in self.runs if all((method, kind, run) in self.scores for method in methods)]

    def _row(self, method: str, k: int, run: str) -> Floats:
        n, c = self.scores[(method, "samples" if k > 1 else "greedy", run)]
        if k == 1:
            return np.asarray(c / n, dtype=np.float64)
        known = {pair: pass_at_k(*pair, k) for pair in {*zip(n.tolist(), c.tolist(), strict=True)}}
        return np.array([known[pair] for pair in zip(n.tolist(), c.tolist(), strict=True)])

    @property
    def iterations(self) -> int:
        """Of Stage I, as planned."""
        numbers = [int(m.rsplit("_", 1)[1]) for m in self.planned() if m.startswith("hybrid_ft_")]
        return max(numbers, default=0)

    @property
    def m_plus(self) -> str:
        """The method that M_plus is an alias of."""
        return f"hybrid_ft_{self.iterations}"

    def planned(self, kind: str = "greedy") -> list[str]:
        """The methods that any run of the group is to evaluate on the split, whether they are there or not."""
        prefix = f"{kind}/{self.split}/"
        labels = dict.fromkeys(self.targets.loc[self.targets["label"].str.startswith(prefix), "label"])
        return [label.removeprefix(prefix) for label in labels]

    def counts(self, kind: str) -> dict[str, int]:
        """Responses of a kind on the split, and how many of them were unparsed, timed out, truncated."""
        return dict(self.troubles.get(kind, {"responses": 0}))

    def clusters_at(self, chosen: npt.NDArray[np.bool_]) -> list[Any] | None:
        """The clusters of some questions."""
        if self.clusters is None:
            return None
        return [label for label, keep in zip(self.clusters, chosen, strict=True) if keep]


def make_groups(frames: Frames, split: str | None = None) -> list[Group]:
    """The groups of a frame, in order of their weak models' first appearance.

    Args:
        split: which questions; test, or else dev, where none is given.

    Raises:
        UserError: two runs of one experiment with the same seed, or runs of a group on different questions.
    """
    chosen = split or _default_split(frames)
    groups = [_make(frames, runs, chosen) for _, runs in frames.runs.groupby("group", sort=False)]
    _name(groups)
    return groups


def _default_split(frames: Frames) -> str:
    labels = frames.targets["label"]
    return next((s for s in ("test", "dev") if labels.str.contains(f"/{s}/", regex=False).any()), "test")


def _make(frames: Frames, runs: "pd.DataFrame", split: str) -> Group:
    runs = runs.sort_values("seed", kind="stable")
    repeated = runs[runs["seed"].duplicated(keep=False)]
    if len(repeated):
        shown = ", ".join(repeated["run"][:3])
        raise UserError(
            f"runs {shown} are one experiment with one seed ({repeated['seed'].iloc[0]}); name one of them"
        )
    first = runs.iloc[0]
    names = list(runs["run"])
    group = Group(
        name=first["weak"],
        weak=first["weak"],
        strong=first["strong"],
        task=first["task"],
        runs=names,
        seeds=[int(seed) for seed in runs["seed"]],
        split=split,
        train_2=float(first["train_2"]),
        commands=list(runs["command"]),
        settings=frames.settings[names[0]],
        labels=frames.labels[frames.labels["run"].isin(names)],
        pairs=frames.pairs[frames.pairs["run"].isin(names)],
        targets=frames.targets[frames.targets["run"].isin(names)],
    )
    _fill(group, frames.grades)
    return group


def _fill(group: Group, grades: "pd.DataFrame") -> None:
    """Take the group's scores out of the frame, in one order of questions."""
    ours = (
        grades[grades["run"].isin(group.runs) & (grades["split"] == group.split)] if len(grades) else grades
    )
    if not len(ours):
        return
    for kind, part in ours.groupby("kind", observed=True):
        sums = {name: int(part[name].sum()) for name in ("unparsed", "timed_out", "truncated")}
        group.troubles[str(kind)] = {"responses": int(part["n"].sum()), **sums}
    for place, part in ours.groupby(["method", "kind", "run"], observed=True, sort=False):
        method, kind, run = (str(one) for one in place)
        ids = part["id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        listed = ids[order].tolist()
        if not group.ids:
            _set_questions(group, part.iloc[order], f"{run} {method}")
        elif listed != group.ids:
            _refuse(group, listed, f"{method} of run {run}")
        group.scores[(method, kind, run)] = (part["n"].to_numpy()[order], part["c"].to_numpy()[order])


def _set_questions(group: Group, part: "pd.DataFrame", where: str) -> None:
    group.ids = part["id"].tolist()
    if len(set(group.ids)) < len(group.ids):
        twice = next(a for a, b in zip(group.ids, group.ids[1:], strict=False) if a == b)
        raise UserError(f"grades of {where}: question '{twice}' stands twice")
    group.levels = part["level"].tolist()
    templates = part["template"].tolist()
    known = [template is not None for template in templates]
    group.clusters = (
        [t if ok else f"#{i}" for i, (t, ok) in enumerate(zip(templates, known, strict=True))]
        if any(known)
        else None
    )


def _refuse(group: Group, ids: list[str], where: str) -> None:
    from w2s_core.statistics import same_ids

    same_ids(set(group.ids), set(ids), (f"the other results on {group.split}", where))
    raise UserError(f"{where}: a question stands twice")


def _name(groups: list[Group]) -> None:
    """Tell groups of one weak model apart by the settings in which they differ."""
    for group in groups:
        rivals = [other for other in groups if other.weak == group.weak]
        if len(rivals) > 1:
            group.name = ", ".join([group.weak, *_differing(group, rivals)])


def _differing(group: Group, rivals: list[Group]) -> Iterator[str]:
    names = sorted({name for one in rivals for name in one.settings} - {"seed", "name", "weak"})
    for name in names:
        values = {repr(one.settings.get(name)) for one in rivals}
        if len(values) > 1:
            yield f"{name}={group.settings.get(name)}"
