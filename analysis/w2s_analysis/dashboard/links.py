"""What all sessions of the page share: the runs, and the addresses of the dashboards beside it."""

from dataclasses import dataclass, field
from urllib.parse import urlencode

from w2s_analysis.dashboard.catalogue import Catalogue
from w2s_analysis.dashboard.look import link
from w2s_analysis.dashboard.run import Run

PROJECT = "w2s"


@dataclass(frozen=True)
class Links:
    """Where the other dashboards are; None for one that has nothing to show.

    Attributes:
        optuna: the address of optuna-dashboard.
        studies: the numbers that it knows studies by.
        trackio: the address of Trackio.
    """

    optuna: str | None = None
    studies: dict[str, int] = field(default_factory=dict)
    trackio: str | None = None

    def study(self, name: str | None) -> str | None:
        """The page of a study, or the list of studies."""
        if self.optuna is None:
            return None
        return f"{self.optuna}/dashboard" + (f"/studies/{self.studies[name]}" if name in self.studies else "")

    def curves(self, runs: tuple[str, ...] = ()) -> str | None:
        """The curves of some runs, or of all."""
        if self.trackio is None:
            return None
        query = {"project": PROJECT} | ({"runs": ",".join(runs)} if runs else {})
        return f"{self.trackio}/?{urlencode(query)}"

    def of_run(self, run: Run) -> list[str]:
        """Links of a run, as HTML."""
        curves = self.curves((run.name,))
        study = self.study(run.study) if run.study in self.studies else None
        links = [(curves, "curves (Trackio)"), (study, f"study {run.study} (Optuna)")]
        return [link(address, words) for address, words in links if address]

    def of_page(self, study: str | None) -> list[str]:
        """Links of the whole page, as HTML."""
        links = [(self.study(study), "Optuna: studies and importances"), (self.curves(), "Trackio: curves")]
        return [link(address, words) for address, words in links if address]


@dataclass(frozen=True)
class Shared:
    """What all sessions of a server share. `place`: the store as the user named it."""

    catalogue: Catalogue
    links: Links
    place: str = ""
