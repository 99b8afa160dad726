"""What a study may say of its tables, and what it is told where it may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import TINY
from made_up import planned

from experiments.language.schema import study_schema
from experiments.questions.lines import table_lines
from reports.escape import latex, markdown
from reports.folder import results_folder
from trainer.errors import UserError

WORDS = TINY[: TINY.index("designs:")]
DESIGNS = "designs:\n  - {grid: [stem], subsets: [c, l]}\n"


def of(tmp_path: Path, *tables: str, designs: str = DESIGNS) -> list[list[tuple[str, str, str | None]]]:
    """Label, cell and reference of the rows of each table."""
    plan = planned(tmp_path, f"{WORDS}{designs}tables:\n" + "".join(f"  - {{id: {t}}}\n" for t in tables))
    lines = [table_lines(table, plan) for table in plan.study.tables]
    return [[(line.label, line.cell, line.reference) for line in found] for found in lines]


def test_rows_of_a_factor_may_be_held_elsewhere(tmp_path: Path) -> None:
    (found,) = of(tmp_path, "t, rows: stem, where: {c: true, l: on}")
    assert found == [("plain", "plain+c+l", None), ("deep", "deep+c+l", "plain+c+l")]


def test_every_cell_may_be_filtered(tmp_path: Path) -> None:
    (found,) = of(tmp_path, "t, where: {stem: deep, l: false}")
    assert [cell for _, cell, _ in found] == ["deep", "deep+c"]


def test_steps_come_from_the_studys_design(tmp_path: Path) -> None:
    designs = "designs:\n  - leave_one_out: [l, stem.deep]\n  - cumulative: [stem.deep, c]\n"
    out, up = of(tmp_path, "a, kind: leave_one_out", "b, kind: cumulative", designs=designs)
    assert out == [
        ("full model", "deep+l", None),
        ("without l", "deep", "deep+l"),
        ("without deep", "plain+l", "deep+l"),
    ]
    assert up == [("plain", "plain", None), ("+ deep", "deep", "plain"), ("+ c", "deep+c", "deep")]


def test_a_reference_may_stand_outside_of_the_table(tmp_path: Path) -> None:
    inside, outside = of(
        tmp_path, "a, rows: stem, reference: deep", "b, rows: [c, l, c+l], reference: baseline"
    )  # fmt: skip
    assert [reference for _, _, reference in inside] == ["deep", None]
    assert {reference for _, _, reference in outside} == {"plain"}


BAD = {
    "id: t, kind: pivott": ("tables.0.kind", '"pivott"', "'pivot'"),
    "id: t, kind: pivot, rows: stem": ("tables.0.columns", "options of a factor", "stem, c, l"),
    "id: t, kind: pivot, rows: [plain], columns: c": ("tables.0.rows", "options of a factor"),
    "id: t, kind: pivot, rows: stem, columns: stem": ("tables.0.columns", "stands in the rows already"),
    "id: t, kind: pivot, rows: stem, columns: d": ("tables.0.columns", "no factor is called 'd'"),
    "id: t, kind: pivot, rows: stem, columns: c, where: {c: on}": ("tables.0.where.c", "varies in this table"),
    "id: t, kind: pivot, rows: stem, columns: c, labels: {dep: x}": ("tables.0.labels.dep", "did you mean 'deep'"),
    "id: t, kind: pivot, rows: stem, columns: c, notes: {plain: x}": ("tables.0.notes", "has no 'notes'"),
    "id: t, kind: switches, rows: stem": ("tables.0.rows", "expected a list of cells"),
    "id: t, kind: switches, where: {stem: dep}": ("tables.0.where.stem", "did you mean 'deep'"),
    "id: t, kind: leave_one_out": ("tables.0", "no design says 'leave_one_out'", "'steps'"),
    "id: t, kind: leave_one_out, steps: [c, d]": ("tables.0.steps.1", "no factor is called 'd'"),
    "id: t, kind: leave_one_out, steps: [c, stem]": ("tables.0.steps.1", "a step names one: stem.deep"),
    "id: t, kind: cumulative, steps: [c], where: {c: on}": ("tables.0.where.c", "varies in this table"),
    "id: t, kind: effects, rows: stem": ("tables.0.rows", "of kind 'effects' has no 'rows'"),
    "id: t, kind: effects, metrics: [params]": ("tables.0.metrics.0", "unknown metric 'params'"),
    "id: t, kind: cost, reference: plain": ("tables.0.reference", "has no 'reference'"),
    "id: t, kind: cost, titles: {top1: Hits}": ("tables.0.titles.top1", "no column 'top1'; it has rows, params, macs"),
    "id: t, kind: cost, metrics: [top1, params]": ("tables.0.metrics.1", "has the column 'params' already"),
    "id: t, kind: cost, unit: percent": ("tables.0.unit", "no metric that this would be the unit of"),
    "id: t, columns: c": ("tables.0.columns", "of kind 'rows' has no 'columns'"),
    "id: t, rows: [plain], where: {c: on}": ("tables.0.where", "named one by one"),
    "id: t, rows: stem, reference: dep": ("tables.0.reference", "'dep'", "did you mean 'deep'"),
    "id: t, rows: stem, titles: {c: x}": ("tables.0.titles.c", "no column 'c'"),
    "id: t, rows: stem, published: {plain: {top1: 61}}": ("published.plain.top1", "fraction of 1", "`unit: percent`"),
    "id: t, rows: stem, unit: percent, published: {plain: {top1: 0.61}}": ("plain.top1", "per cent (61 for 0.61 of 1)"),
    "id: t, rows: stem, unit: percent, published: {plain: {top1: 161}}": ("plain.top1", "expected per cent, 0 to 100"),
    "id: t, unit: per cent": ("tables.0.unit", "'percent'"),
}


@pytest.mark.parametrize("table", BAD)
def test_a_mistake_in_a_table_is_one_line_that_teaches(table: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, f"{WORDS}{DESIGNS}tables:\n  - {{{table}}}\n")
    assert "\n" not in str(error.value)
    for said in BAD[table]:
        assert said in str(error.value)


def test_steps_that_no_design_combines_are_named(tmp_path: Path) -> None:
    designs = "designs:\n  - {grid: {stem: [deep]}, leave_one_out: [c, l]}\n"
    with pytest.raises(UserError, match=r"no design makes the cell 'plain.c.l'.*'where'"):
        of(tmp_path, "t, kind: leave_one_out", designs=designs)
    (found,) = of(tmp_path, "t, kind: leave_one_out, where: {stem: deep}", designs=designs)
    assert [cell for _, cell, _ in found] == ["deep+c+l", "deep+l", "deep+c"]


def test_a_tables_differences_need_their_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the differences of the table 't' have this name"):
        of(tmp_path, "t, rows: stem", "t_differences, rows: stem")


def test_the_schema_knows_every_kind() -> None:
    assert {"rows", "pivot", "switches", "leave_one_out", "cumulative", "effects", "cost"} == set(
        study_schema()["$defs"]["Table"]["properties"]["kind"]["enum"]
    )


def test_fewer_seeds_replace_no_larger_report(tmp_path: Path) -> None:
    import dataclasses

    from experiments import expand, load_study

    file = tmp_path / "study.yaml"
    file.write_text(f"{WORDS}seeds: 3\n{DESIGNS}", encoding="utf-8")
    study = load_study(file)
    whole, one = expand(study), expand(dataclasses.replace(study, seeds=(0,)))
    assert results_folder(one) == Path("results/tiny"), "nothing is there yet"
    report = Path("results/tiny/report.json")
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"planned": len(whole.trials)}))
    assert (results_folder(whole), results_folder(one)) == (report.parent, Path("results/tiny-seeds1"))
    report.write_text(json.dumps({"planned": len(one.trials)}))
    assert results_folder(one) == report.parent
    report.write_text("[1")
    assert results_folder(one) == report.parent


def test_more_seeds_are_not_replaced_by_the_studys_own(tmp_path: Path) -> None:
    import dataclasses

    from experiments import expand, load_study

    file = tmp_path / "study.yaml"
    file.write_text(f"{WORDS}seeds: 2\n{DESIGNS}", encoding="utf-8")
    study = load_study(file)
    more = expand(dataclasses.replace(study, seeds=tuple(range(8))))
    assert (results_folder(expand(study)), results_folder(more)) == (Path("results/tiny"), Path("results/tiny-seeds8"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("é ñ ł ï", r"\'{e} \~{n} \l{} \"{\i}"),
        ("a--b", r"a-{}-b"),
        ("1–2", "1--2"),
        ("🎈", "{[}balloon]"),
        ("Δα", r"$\Delta$$\alpha$"),
        ("a‮b​c", "abc"),
        ("5 ± 2 µ", r"5 $\pm$ 2 $\mu$"),
        ("e\u0301", r"\'{e}"),
        ("`x`", r"\textasciigrave{}x\textasciigrave{}"),
    ],
)
def test_latex_prints_what_it_can_and_names_the_rest(text: str, expected: str) -> None:
    assert latex(text) == expected


def test_a_name_turns_no_line_of_markdown_around() -> None:
    assert markdown("a‮b") == "ab"
    assert markdown("שלום") == "שלום"
