"""A later method of Stage II is reported wherever DPO is: a run whose DPO is called CPO has the same report."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import pytest
from matplotlib.text import Text

from tests.analysis.synthetic import TinyStore, add_run
from w2s_analysis.parts.part import Part
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.study import Study, make_study
from w2s_analysis.weak_to_strong.diagnose import diagnose
from w2s_analysis.weak_to_strong.findings import findings
from w2s_analysis.weak_to_strong.looks import MODELS
from w2s_analysis.weak_to_strong.report import PARTS
from w2s_analysis.weak_to_strong.titles import METHODS
from w2s_core.recipes.weak_to_strong import StageTwo

LATER = {"dpo": "cpo", "orpo": "simpo"}
KEEPS = (0.3, 0.5)


def renamed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run with the same results under the later methods' names."""
    twin = copy.deepcopy(dict(record))
    for field in ("targets", "steps"):
        twin[field] = {
            label.replace(name, LATER.get(name, name)): key
            for label, key in record[field].items()
            for name in [label.replace(":", "/").rsplit("/", 1)[-1]]
        }
    return twin


def called_as_before(text: str) -> str:
    for old, new in LATER.items():
        text = text.replace(METHODS[new], METHODS[old]).replace(new, old)
    return text


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyStore, TinyStore]:
    """Two weak models and two thresholds, by DPO and ORPO; and the same results by CPO and SimPO."""
    store = TinyStore(tmp_path_factory.mktemp("results"))
    for weak in ("llama", "qwen2"):
        for keep in KEEPS:
            settings = {"stage2": {"keep": keep, "samples": 10}}
            add_run(store, f"{weak}-{keep}", weak=weak, settings=settings)
    twin = TinyStore(store.root)
    twin.refs.records = {name: renamed(record) for name, record in store.refs.records.items()}
    return store, twin


@pytest.fixture(scope="module")
def studies(stores: tuple[TinyStore, TinyStore]) -> tuple[Study, Study]:
    first, second = (make_study(load_frames(store, list(store.refs.names()))) for store in stores)
    return first, second


def texts(part: Part, study: Study) -> list[Any]:
    tables = [
        [
            table.title,
            *table.columns,
            *[cell.text for row in table.rows for cell in row.values()],
            *table.notes,
        ]
        for table in part.tables(study)
    ]
    figure = part.figure(study)
    drawn = [found.get_text() for found in figure.findobj(Text)] if figure else []
    return [*tables, drawn]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_tables_and_figures_are_the_same_but_for_the_name(part: Part, studies: tuple[Study, Study]) -> None:
    before, after = (texts(part, study) for study in studies)
    old = {METHODS[name] for name in LATER}
    named = [text for table in after for text in table if set(re.findall(r"\w+", text)) & old]
    assert all(text.startswith("The paper reports") for text in named)
    assert [[called_as_before(text) for text in table] for table in after] == before


def test_findings_judge_what_the_runs_trained(studies: tuple[Study, Study]) -> None:
    before, after = ({finding.rule.name: finding for finding in findings(study.bases)} for study in studies)
    for name in ("F6", "F8"):
        claims = [claim.name for claim in after[name].claims]
        assert [called_as_before(claim) for claim in claims] == [c.name for c in before[name].claims]
        assert claims != [claim.name for claim in before[name].claims]
        assert after[name].outcome == before[name].outcome


def test_every_rule_of_diagnose_reaches_them(stores: tuple[TinyStore, TinyStore]) -> None:
    before, after = (
        [(finding.rule.name, finding.outcome) for finding in diagnose(store, "llama-0.3")] for store in stores
    )
    assert [(called_as_before(name), outcome) for name, outcome in after] == before
    assert any("SimPO" in name for name, _ in after)


def test_no_method_that_an_experiment_can_name_is_left_out() -> None:
    [choices] = StageTwo.model_fields["methods"].annotation.__args__[:1]
    assert set(choices.__args__) == set(METHODS) == set(MODELS) - {"weak", "icl", "hybrid"}
