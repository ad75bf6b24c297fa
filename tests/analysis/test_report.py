"""What is printed and saved: figure and files, the same bytes each time, one line for what cannot be."""

import json
import struct
from pathlib import Path

import pytest

from tests.analysis.synthetic import TinyStore, add_run
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import make_groups
from w2s_analysis.report import render_run, save_report
from w2s_analysis.weak_to_strong.stage_one import stage_one_figure
from w2s_analysis.writing.figures import LOOKS, save_figure
from w2s_core.errors import UserError


@pytest.fixture(scope="module")
def printed(one_run: TinyStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    return save_report(one_run, ["solo"], folder, ["w2s", "run", "x.yaml"]), folder


def test_one_run_prints_its_tables_and_where_they_lie(printed: tuple[str, Path], one_run: TinyStore) -> None:
    text, folder = printed
    names = {path.name for path in folder.iterdir()}
    parts = {f"{name}.{end}" for name in ("stage1", "stage2", "selection") for end in ("md", "tex", "csv")}
    figures = {f"{name}.{end}" for name in ("stage1", "selection") for end in ("png", "svg")}
    more = {"stage2_pairs.csv", "selection_levels.csv"}
    assert names == parts | figures | more
    assert all(str(folder / name) in text for name in names)
    assert render_run(one_run, "solo") in text


def test_the_same_store_gives_the_same_bytes(
    printed: tuple[str, Path], one_run: TinyStore, tmp_path: Path
) -> None:
    save_report(one_run, ["solo"], tmp_path, ["w2s", "run", "x.yaml"])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (printed[1] / path.name).read_bytes(), path.name


@pytest.mark.usefixtures("unrendered")
def test_several_runs_have_findings_and_a_table_each(study: TinyStore, tmp_path: Path) -> None:
    text = save_report(study, list(study.refs.names()), tmp_path, ["w2s", "tables"])
    names = {path.name for path in tmp_path.iterdir()}
    parts = ("stage1", "stage2", "levels", "selection", "weak_models", "weak_choice", "cost", "settings")
    for part in (*parts, "findings"):
        assert {f"{part}.md", f"{part}.tex", f"{part}.csv"} <= names, part
    assert "F9" in text


@pytest.mark.usefixtures("unrendered")
def test_findings_of_several_settings_are_those_of_the_base_setting(store: TinyStore, tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(
            store, f"a{seed}", n=60, seed=seed, settings={"stage1": {"iterations": 2, "consistency": 1.0}}
        )
    add_run(store, "b", n=60, settings={"stage1": {"iterations": 2, "consistency": 0.5}})
    save_report(store, ["a0", "a1", "b"], tmp_path)
    record = json.loads((tmp_path / "findings.json").read_text())
    assert record["runs"] == ["a0", "a1"]
    assert "stage1.consistency=0.5" in (tmp_path / "settings.md").read_text()


@pytest.mark.slow
def test_runs_on_different_questions_still_have_tables(store: TinyStore, tmp_path: Path) -> None:
    add_run(store, "a", n=60)
    add_run(store, "b", n=72, weak="mistral")
    text = save_report(store, ["a", "b"], tmp_path)
    assert "No findings: weak model llama and weak model mistral were graded on different questions" in text
    assert (tmp_path / "stage1.md").exists()


def test_a_run_with_nothing_computed_is_shown_as_missing(store: TinyStore, tmp_path: Path) -> None:
    store.refs.records["new"] = {
        "run": "new",
        "weak": "w",
        "targets": {"greedy/test/dpo": "none", "pairs": "no"},
    }
    assert "missing" in save_report(store, ["new"], tmp_path)
    assert not (tmp_path / "stage1.png").exists()


def test_a_folder_that_cannot_be_written_is_one_line(one_run: TinyStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save_report(one_run, ["solo"], tmp_path / "file")


def test_figure_draws_each_method_where_its_numbers_are(study: TinyStore) -> None:
    groups = make_groups(load_frames(study, list(study.refs.names())))
    figure = stage_one_figure(groups)
    assert [panel.get_title() for panel in figure.axes] == ["weak: qwen2", "weak: llama", "weak: mistral"]
    panel, group = figure.axes[1], groups[1]
    drawn = {bar.get_label(): bar.lines[0].get_ydata().tolist() for bar in panel.containers}
    assert drawn["hybrid-ft"] == pytest.approx([100 * group.table(f"hybrid_ft_{i}").mean() for i in (1, 2)])
    assert drawn["icl-ft"] == pytest.approx(
        [100 * group.table(m).mean() for m in ("weak_icl", "icl_ft_1", "icl_ft_2")]
    )
    assert drawn["DPO"] == pytest.approx([100 * group.table("dpo").mean()])
    levels = {
        line.get_label(): line.get_ydata()[0] for line in panel.lines if len(set(line.get_ydata())) == 1
    }
    assert levels["strong ceiling"] == pytest.approx(100 * group.table("ceiling").mean())
    assert levels["weak floor"] == pytest.approx(100 * group.table("weak_floor").mean())


def test_figure_with_missing_points_is_drawn_without_them(store: TinyStore, tmp_path: Path) -> None:
    add_run(store, "a", missing=("greedy/test/dpo", "greedy/test/hybrid_ft_2", "greedy/test/weak_floor"))
    figure = stage_one_figure(make_groups(load_frames(store, ["a"])))
    paths = save_figure(figure, tmp_path, "stage1")
    width, height = struct.unpack(">II", paths[0].read_bytes()[16:24])
    assert width == pytest.approx(680, abs=4), "3.4 inches at 200 dots an inch: a column"
    assert height > 400
    assert b"ORPO" in paths[1].read_bytes()


def test_colours_differ_for_colour_blind_eyes_and_in_grey() -> None:
    """Simulate deuteranopia and protanopia (Machado 2009, full strength): no two lines may fall together."""
    import itertools

    import numpy as np

    confusions = {
        "normal": np.eye(3),
        "protan": np.array(
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ]
        ),
        "deutan": np.array(
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
        ),
    }
    colours = {look.colour: [int(look.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for look in LOOKS}
    assert len({look.marker for look in LOOKS}) == len(colours) == len(LOOKS)
    for matrix in confusions.values():
        perceived = {name: matrix @ np.array(colour) for name, colour in colours.items()}
        for first, second in itertools.combinations(perceived, 2):
            assert np.linalg.norm(perceived[first] - perceived[second]) > 0.25, (first, second)
