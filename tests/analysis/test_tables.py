"""Tables: numbers equal the evaluation of the rows, forms agree, everything missing is shown."""

import csv
import io
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.analysis.synthetic import TRUTH, TinyStore, add_run
from tests.oracle_evaluation import accuracy, by_level, label_quality, mean_pass_at_k
from w2s_analysis.reading.frame import GRADES, load_frames
from w2s_analysis.reading.results import read_graded
from w2s_analysis.reading.study import make_study
from w2s_analysis.reading.titles import merge, outline_of
from w2s_analysis.reading.typed import written
from w2s_analysis.weak_to_strong.published import published_figure
from w2s_analysis.weak_to_strong.report import REPORT
from w2s_analysis.writing.table import (
    Cell,
    Table,
    count,
    percent,
    tex,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
)
from w2s_core.errors import UserError
from w2s_core.recipes.recipe import Outline
from w2s_core.rows import read_rows, write_rows
from w2s_core.statistics import Bounds


def tables_of(store: TinyStore, *runs: str) -> dict[tuple[str, str], Table]:
    """The tables of runs by what they are called and of."""
    study = make_study(load_frames(store, runs or list(store.refs.names())))
    return {(table.name, table.of): table for part in REPORT.one_run for table in part.tables(study)}


def table_of(store: TinyStore, name: str, run: str = "solo") -> Table:
    return tables_of(store, run)[name, "llama"]


def rows_by_name(table: Table) -> dict[str, dict[str, Cell]]:
    return {row[table.columns[0]].text: row for row in table.rows}


def test_accuracy_levels_pass_at_10_and_pgr_are_those_of_the_grades(one_run: TinyStore) -> None:
    table = table_of(one_run, "stage1")
    row = rows_by_name(table)["hybrid-ft 2 = M_plus"]
    grades = {
        m: read_rows(one_run.path(f"solo-greedy-test-{m}") / GRADES)
        for m in ("hybrid_ft_2", "weak_floor", "ceiling")
    }
    assert row["accuracy"].value == pytest.approx(100 * accuracy(grades["hybrid_ft_2"]))
    assert row["accuracy"].low < row["accuracy"].value < row["accuracy"].high
    for level, share in by_level(grades["hybrid_ft_2"]).items():
        assert row[f"L{level}"].value == pytest.approx(100 * share)
    floor, ceiling = accuracy(grades["weak_floor"]), accuracy(grades["ceiling"])
    assert row["PGR"].value == pytest.approx((row["accuracy"].value / 100 - floor) / (ceiling - floor))
    samples = read_rows(one_run.path("solo-samples-test-hybrid_ft_2") / GRADES)
    assert row["pass@10"].value == pytest.approx(100 * mean_pass_at_k(samples, 10))


def test_rows_stand_in_the_papers_order_and_floor_and_ceiling_have_no_pgr(one_run: TinyStore) -> None:
    table = table_of(one_run, "stage1")
    names = list(rows_by_name(table))
    assert names == [
        "weak floor", "strong, zero-shot", "full weak FT", "weak ICL", "weak-ft 1", "icl-ft 1", "hybrid-ft 1",
        "weak-ft 2", "icl-ft 2", "hybrid-ft 2 = M_plus", "M_plus + DPO", "M_plus + ORPO", "strong ceiling",
    ]  # fmt: skip
    assert "PGR" not in table.rows[0]
    assert "PGR" not in table.rows[-1]


def test_labels_are_those_of_the_grades(one_run: TinyStore) -> None:
    row = rows_by_name(table_of(one_run, "selection"))["agreed 1"]
    expected = label_quality(read_rows(one_run.path("solo-agreed_1") / GRADES), 240)
    assert row["precision"].value == pytest.approx(100 * expected.precision)
    assert row["coverage"].value == pytest.approx(100 * expected.coverage)
    assert row["rows"].value == expected.rows


def test_pairs_are_counted_by_kind(one_run: TinyStore) -> None:
    rows = rows_by_name(table_of(one_run, "stage2_pairs"))
    assert rows["all"]["number"].value == 80
    sides = [rows[f"weak side {side}"] for side in ("chosen", "rejected")]
    assert sum(row["number"].value for row in sides) == 80
    assert [rows["all"][f"{side}, words"].value for side in ("chosen", "rejected")] == [3, 4]
    chosen = read_rows(one_run.path("solo-pc") / GRADES)
    assert rows["all"]["chosen right, %"].value == pytest.approx(100 * accuracy(chosen))
    kinds = [row["kind"] for row in read_rows(one_run.path("solo-pairs") / "rows.parquet")]
    rejected = [row for row, kind in zip(chosen, kinds, strict=True) if kind == "weak_rejected"]
    assert sides[1]["chosen right, %"].value == pytest.approx(100 * accuracy(rejected))


def test_over_seeds_the_mean_of_the_runs_and_one_table_a_weak_model(study: TinyStore) -> None:
    tables = tables_of(study)
    assert [of for name, of in tables if name == "stage1"] == ["qwen2", "llama", "mistral"]
    each = [accuracy(read_rows(study.path(f"llama-{s}-greedy-test-dpo") / GRADES)) for s in (0, 1, 2)]
    row = rows_by_name(tables["stage1", "llama"])["M_plus + DPO"]
    assert row["accuracy"].value == pytest.approx(100 * sum(each) / 3)
    precision = rows_by_name(tables["selection", "llama"])["agreed 2"]["precision"]
    kept = [read_rows(study.path(f"llama-{s}-agreed_2") / GRADES) for s in (0, 1, 2)]
    pooled = [row for part in kept for row in part]
    assert precision.value == pytest.approx(100 * accuracy(pooled))


def test_terminal_fits_100_columns_and_shows_everything(study: TinyStore) -> None:
    for (name, _), table in tables_of(study).items():
        text = to_terminal(table)
        assert max(map(len, text.splitlines())) <= (100 if name != "selection_levels" else 200), name
        assert "…" not in text
        for cells in table.texts():
            assert all(cell in text for cell in cells)


def test_footer_names_questions_seeds_clusters_runs_command_and_detectable_effect(one_run: TinyStore) -> None:
    notes = "\n".join(table_of(one_run, "stage1").notes)
    for part in (
        "n = 240 test questions in 120 templates",
        "seeds 4",
        "run: solo",
        "seed=4",
        "points to be found",
    ):
        assert part in notes
    assert "over questions only (one seed: these models only)" in notes
    assert "unparsed" in notes
    assert "truncated" in notes


def test_missing_rows_are_shown_as_missing(store: TinyStore) -> None:
    add_run(store, "a", seed=0, missing=("greedy/test/dpo", "samples/test/ceiling"))
    add_run(store, "b", seed=1, missing=("greedy/test/dpo", "greedy/test/orpo"))
    table = tables_of(store)["stage1", "llama"]
    rows = rows_by_name(table)
    assert rows["M_plus + DPO"]["accuracy"].text == "missing"
    assert "M_plus + ORPO (1/2 seeds)" in rows
    assert any(note.startswith("Missing: greedy/test/dpo of a") for note in table.notes)


def test_gap_not_resolved_is_said_instead_of_a_number(store: TinyStore) -> None:
    add_run(store, "a", truth=TRUTH | {"ceiling": 0.30})
    table = table_of(store, "stage1", "a")
    assert {row["PGR"].text for row in table.rows if "PGR" in row} == {"–"}
    assert any("gap not resolved" in note for note in table.notes)


def test_markdown_and_csv_hold_the_same_cells(one_run: TinyStore) -> None:
    for table in tables_of(one_run).values():
        markdown = to_markdown(table)
        lines = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len(lines) == len(table.rows) + 2
        read = list(csv.DictReader(io.StringIO(to_csv(table))))
        assert len(read) == len(table.rows)
        for row, fields in zip(table.rows, read, strict=True):
            for name, cell in row.items():
                if not math.isnan(cell.value):
                    assert float(fields[name]) == pytest.approx(cell.value, rel=1e-5)
                    if name in table.spans and not math.isnan(cell.low):
                        assert float(fields[f"{name} low"]) == pytest.approx(cell.low, rel=1e-5)


def test_a_table_too_wide_for_the_terminal_is_not_cut() -> None:
    wide = Table("t", [f"column {i}" for i in range(15)], [{f"column {i}": Cell("x" * 9) for i in range(15)}])
    assert to_terminal(wide).count("x" * 9) == 15


def test_markup_in_names_stays_text() -> None:
    table = Table("t", ["a|b"], [{"a|b": Cell("x|y [red]z[/red]")}])
    assert "x|y [red]z[/red]" in to_terminal(table)
    assert "x\\|y" in to_markdown(table)


@pytest.mark.parametrize("few", ["a", pytest.param("b", marks=pytest.mark.slow)])
def test_seeds_with_too_few_samples_are_named_beneath_pass_at_10(store: TinyStore, few: str) -> None:
    for seed, name in enumerate("ab"):
        add_run(store, name, seed=seed, samples=4 if name == few else 10)
    add_run(store, "alone", weak="mistral", seed=0)
    enough, seed = ("b", 0) if few == "a" else ("a", 1)
    line = f"pass@10 needs 10 samples a question and leaves out: {few} (seed {seed}) has 4."
    tables, without = tables_of(store), tables_of(store, enough)
    for name, column in (("stage1", "pass@10"), ("stage2", "gain, pass@10")):
        table, alone = tables[name, "llama"], without[name, "llama"]
        assert line in table.notes
        assert not any("leaves out" in note for note in alone.notes)
        last = table.rows[-1]["method"].text
        assert rows_by_name(table)[last][column].text == rows_by_name(alone)[last][column].text != "–"
    assert not any("leaves out" in note for note in tables["stage1", "mistral"].notes)


MARKUP = "**a** _b_ |c| [d](e) ![f][g] `h` ~~i~~ <b>j</b> &copy; k\\*l\nm"


def test_markup_in_titles_and_cells_is_shown_as_it_was_written() -> None:
    shown = MARKUP.replace("\n", " ")
    table = Table(MARKUP, ["x", MARKUP], [{"x": Cell("1"), MARKUP: Cell(MARKUP)}], notes=[MARKUP])
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(to_markdown(table))
    inline = [token for token in tokens if token.type == "inline" and token.content != "x"]
    texts = ["".join(child.content for child in token.children or ()) for token in inline]
    assert texts == [shown, shown, "1", shown, shown]
    assert {child.type for token in inline for child in token.children or ()} <= {"text", "text_special"}


def test_what_is_no_markup_is_not_escaped_in_headings() -> None:
    title = "Labels on train_2 · a gain in [2.1, 3.4] (p < 0.05)"
    assert to_markdown(Table(title, ["x"])).startswith(f"### {title}\n")


FORMULAS = ["=cmd|' /C calc'!A0", "+SUM(A1)", "-2+3", "@now", "\t=1", " =1", "-x"]


def test_formulas_in_csv_are_text_and_numbers_stay_numbers() -> None:
    rows = [{"x": Cell(text), "=y": Cell("-5.2", -5.2)} for text in [*FORMULAS, "-5.2", "+1e-05", "5 - 3"]]
    heading, *lines = csv.reader(io.StringIO(to_csv(Table("t", ["x", "=y"], rows, of="=z"))))
    assert heading == ["of", "x", "'=y"]
    assert [line[1] for line in lines] == [f"'{text}" for text in FORMULAS] + ["-5.2", "+1e-05", "5 - 3"]
    assert {(line[0], line[2]) for line in lines} == {("'=z", "-5.2")}


HOSTILE = "\\input{/etc/passwd} %&$#_{}~^ \\end{tabular}\n\n<script>alert(1)</script>\x1b[2J\u2028\r| x"


def test_commands_and_line_breaks_in_latex_are_text() -> None:
    table = Table(HOSTILE, ["x", HOSTILE], [{"x": Cell(HOSTILE), HOSTILE: Cell(HOSTILE)}], notes=[HOSTILE])
    text = to_latex(table)
    shown = r"\textbackslash{}input\{/etc/passwd\} \%\&\$\#\_\{\}\textasciitilde{}\textasciicircum{}"
    assert text.count(shown) == 5
    assert text.count("\n") == len(
        to_latex(Table("t", ["x", "y"], [{"x": Cell("1")}], notes=["n"])).splitlines()
    )
    for markdown in to_markdown(table).splitlines():
        assert "<script" not in markdown
        assert all(char.isprintable() for char in markdown)


def test_cells() -> None:
    assert percent(math.nan).text == "–"
    assert percent(0.1234).text == "12.3"
    assert count(12.0).text == "12"
    assert count(12.345).text == "12.3"


def test_records_of_before_have_the_order_of_the_paper() -> None:
    """They have labels alone, and their JSON sorts them."""
    methods = [
        "ceiling", "dpo", "hybrid_ft_10", "hybrid_ft_2", "icl_all", "weak_floor", "weak_ft_2",
    ]  # fmt: skip
    sets = ["agreed_2", "icl_1", "weak_1", "agreed_1", "icl_0", "weak_0"]
    labels = [*(f"greedy/test/{name}" for name in methods), *(f"labels/{name}" for name in sets)]
    outline = outline_of([{"targets": dict.fromkeys(labels, "key")}])
    assert [entry.name for entry in outline if entry.kind == "greedy"] == [
        "weak_floor", "weak_ft_2", "hybrid_ft_2", "hybrid_ft_10", "dpo", "ceiling", "icl_all",
    ]  # fmt: skip
    assert [entry.name for entry in outline if entry.kind == "labels"] == [
        "weak_0", "icl_0", "agreed_1", "weak_1", "icl_1", "agreed_2",
    ]  # fmt: skip


def test_outlines_are_merged_in_an_order_that_keeps_each_of_them() -> None:
    def listed(names: str) -> list[Outline]:
        return [Outline("greedy", name, name, split="test") for name in names]

    merged = "".join(entry.name for entry in merge([listed("abd"), listed("acd"), listed("xde")]))
    assert merged == "abcxde"
    assert merge([]) == []


def test_published_figures_are_found_by_the_models_name_and_only_where_they_belong() -> None:
    def figure(weak: str, method: str, m_plus: str = "hybrid_ft_2") -> float | None:
        return published_figure("gsm8k", weak, method, m_plus)

    assert figure("meta-llama/Llama-2-7b-hf", "weak_floor") == 33.81
    assert figure("llama2-7b", "weak_floor") == 33.81
    assert figure("google/gemma-2b", "dpo") == 64.52
    assert figure("google/gemma-2b", "dpo", "hybrid_ft_1") is None
    assert figure("llama", "weak_floor") is None
    assert published_figure("mini", "llama2-7b", "weak_floor", "hybrid_ft_2") is None
    assert published_figure("math", "mistral-7b", "hybrid_ft_1", "hybrid_ft_1", pass_at_10=True) == 39.60


def test_latex_has_a_row_a_row_and_escapes_what_it_would_read(one_run: TinyStore) -> None:
    for table in tables_of(one_run).values():
        text = to_latex(table)
        assert text.count(r"\begin{") == text.count(r"\end{") == 2
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(table.rows) + 1
        assert {line.count(" & ") for line in rows} == {len(table.columns) - 1}
        bare = re.sub(r"\\[_%#&$]", "", text)
        assert not re.search(r"[_%#^~]", bare), "an unescaped mark"
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_latex_of_every_mark_a_name_may_hold() -> None:
    marks = '\\ { } ~ ^ < > | " & % $ # _ – − · ≥ ≤ “x” ’'
    text = tex(marks)
    assert r"\textbackslash{}" in text
    assert r"\{ \}" in text
    assert all(ord(letter) < 128 for letter in text), "nothing that needs a package for its letters"
    table = Table("t", ["a", "b"], [{"a": Cell("[1]"), "b": Cell("x")}, {"a": Cell("[2]"), "b": Cell("y")}])
    assert "\\\\\n[" not in to_latex(table), "a bracket after a line's end would be its argument"


def test_csv_of_several_tables_says_what_each_row_is_of() -> None:
    first = Table("t", ["a", "x"], [{"a": Cell("1", 1)}], spans=("x",), of="llama")
    second = Table("t", ["a", "y"], [{"a": Cell("2", 2), "y": Cell("3", 3)}], of="qwen2")
    read = list(csv.DictReader(io.StringIO(to_csv(first, second))))
    assert [row["of"] for row in read] == ["llama", "qwen2"]
    assert read[0] == {"of": "llama", "a": "1", "x": "", "x low": "", "x high": "", "y": ""}
    assert read[1]["y"] == "3"


def test_commands_are_written_relative_to_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["w2s", "run", str(tmp_path / "a b" / "x.yaml"), f"weak={tmp_path}/bases/llama", "seed=1"]
    assert written(command) == "w2s run 'a b/x.yaml' weak=bases/llama seed=1"
    outside = ["w2s", "--store", "/elsewhere/deep/down/store", "strong=/x/y/m", "--out=/x/y o/out", "../z"]
    assert shlex.split(written(outside)) == outside, "whole, so that it runs wherever it is pasted"


def test_grades_that_are_none_are_one_line(tmp_path: Path) -> None:
    def write(**row: Any) -> None:
        write_rows(tmp_path / GRADES, [{"id": "q1", **row}])

    write(verdicts=["rihgt"])
    with pytest.raises(UserError, match="unknown verdict 'rihgt'; known: right, wrong"):
        read_graded(tmp_path)
    write_rows(tmp_path / GRADES, [{"id": "q1", "verdicts": ["right"]}, {"id": "q2", "verdicts": []}])
    with pytest.raises(UserError, match="question 'q2' has no response"):
        read_graded(tmp_path)
    write(answers=["7"])
    with pytest.raises(UserError, match="no column 'verdicts'"):
        read_graded(tmp_path)


def test_an_unbounded_interval_can_be_saved() -> None:
    """A share of a gap that is nothing: its bounds are infinite, and a file says so."""
    inf = float("inf")
    cell = Cell("17", 1 / 6, -inf, inf, Bounds(-inf, inf, -inf, inf))
    lines = list(csv.DictReader(io.StringIO(to_csv(Table("t", ["PGR"], [{"PGR": cell}], spans=("PGR",))))))
    assert lines[0]["PGR"] == "0.166667"
    ends = {name: value for name, value in lines[0].items() if name != "PGR"}
    assert set(ends.values()) == {"-inf", "inf"}
    assert {name for name, value in ends.items() if value == "-inf"} == {
        "PGR low",
        "PGR worst",
        "PGR bounds low",
    }
