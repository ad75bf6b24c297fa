"""Labelled sets of train_2 over seeds: precision, coverage, and tables aligned on the questions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.groups import Group
from w2s_core.statistics import Estimate, crossed_bootstrap, score

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SetQuality:
    """A labelled set over seeds: precision with its interval; coverage, rows and unparsed as means over seeds."""

    precision: Estimate
    coverage: float
    rows: float
    unparsed: float
    seeds: int


@dataclass(frozen=True)
class LabelTables:
    """Which questions of train_2 a set keeps and gets right, shape [seeds, questions], aligned for several sets."""

    ids: list[str]
    kept: dict[str, Floats]
    right: dict[str, Floats]
    clusters: list[object] | None


def label_quality_over_seeds(group: Group, name: str) -> SetQuality | None:
    """Precision of a set, resampling questions and seeds; None where no run has the set."""
    runs = runs_with_sets(group, name)
    if not runs:
        return None
    rows = group.labels[(group.labels["set"] == name) & group.labels["run"].isin(runs)]
    asked = group.train_2 if group.train_2 == group.train_2 else float(group.labels["id"].nunique())
    return SetQuality(
        precision=_precision(group, name, runs),
        coverage=len(rows) / len(runs) / asked if asked else float("nan"),
        rows=len(rows) / len(runs),
        unparsed=float(rows["unparsed"].clip(upper=1).sum()) / len(runs),
        seeds=len(runs),
    )


def runs_with_sets(group: Group, *names: str) -> list[str]:
    """The runs that have all of these sets (an empty set counts as there)."""
    labels = {f"labels/{name}" for name in names}
    present = group.targets[group.targets["present"] & group.targets["label"].isin(labels)]
    found = present.groupby("run")["label"].nunique()
    return [run for run in group.runs if found.get(run, 0) == len(labels)]


def label_tables(group: Group, names: list[str], runs: list[str]) -> LabelTables:
    """Align sets on the questions that any of them holds; a question that a set lacks has kept = right = 0."""
    ours = group.labels[group.labels["run"].isin(runs) & group.labels["set"].isin(names)]
    first = ours.drop_duplicates("id").sort_values("id")
    ids = {name: i for i, name in enumerate(first["id"])}
    kept = {name: np.zeros((len(runs), len(ids))) for name in names}
    right = {name: np.zeros((len(runs), len(ids))) for name in names}
    for (name, run), part in ours.groupby(["set", "run"], observed=True):
        at = [ids[one] for one in part["id"]]
        kept[str(name)][runs.index(str(run)), at] = 1.0
        right[str(name)][runs.index(str(run)), at] = part["right"].to_numpy(dtype=float)
    templates = first["template"].tolist()
    clusters = [t if t is not None else f"#{i}" for i, t in enumerate(templates)]
    return LabelTables(list(ids), kept, right, clusters if any(t is not None for t in templates) else None)


def _precision(group: Group, name: str, runs: list[str]) -> Estimate:
    tables = label_tables(group, [name], runs)
    kept, right = tables.kept[name], tables.right[name]
    if (kept.size and kept.all()) or len(runs) == 1:
        chosen = kept[0] > 0 if len(runs) == 1 else np.ones(kept.shape[1], dtype=bool)
        labels = tables.clusters and [c for c, keep in zip(tables.clusters, chosen, strict=True) if keep]
        return score(right[:, chosen], labels)
    return crossed_bootstrap(np.stack([kept, right]), _share, clusters=tables.clusters)


def _share(means: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(means[..., 1] / means[..., 0])
