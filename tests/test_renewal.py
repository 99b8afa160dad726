"""A report is written again where its inputs or files have changed, and only there; `--watch` follows a study."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import TINY
from made_up import planned, record_runs
from test_hand_edited_record import ablate, artifact, edited, failed, finished

import orchestrator.commands.report as command
import reports.report
from experiments import expand, load_study
from experiments.plan import Plan
from experiments.sharing.reservations import Reservation
from orchestrator.cli import main
from reports.kept import write_whole
from reports.renewal import Renewed, namesake, renew_report
from trainer.errors import UserError

PAGE = Path("results/tiny/report.html")
RELOADS = '<meta http-equiv="refresh" content="5">'


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for made in ("table_curves", "usual_figures"):
        monkeypatch.setattr(reports.report, made, lambda runs, *others, **more: [])


@pytest.fixture
def plan(record: Path, tmp_path: Path) -> Plan:
    return planned(tmp_path)


def said(*more: str) -> str:
    return ablate("report", "study.yaml", *more, code=0).stdout.strip()


def test_of_two_reports_at_once_none_is_older_than_what_it_says(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    record_runs(plan, finished, ["plain"])
    made, reads, goes_on = reports.report.make_report, threading.Event(), threading.Event()

    def late(*arguments: Any, **more: Any) -> reports.report.Report:
        report = made(*arguments, **more)
        if not goes_on.is_set():
            reads.set()
            goes_on.wait(30)
        return report

    def renew() -> Renewed:
        return renew_report(plan, PAGE.parent, allow_partial=True, allow_mixed=True)

    monkeypatch.setattr(reports.report, "make_report", late)
    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(renew)
        assert reads.wait(30)
        record_runs(plan, finished, {cell.name for cell in plan.cells} - {"plain"})
        newer = pool.submit(renew)
        time.sleep(0.3)
        assert not newer.done(), "it waits for the other, which has read less"
        goes_on.set()
        assert older.result().finished < newer.result().finished == len(plan.trials)
    assert json.loads((PAGE.parent / "report.json").read_text())["finished"] == len(plan.trials)
    assert not renew().written


def test_a_report_that_is_refused_leaves_no_folder(plan: Plan) -> None:
    with pytest.raises(UserError):
        renew_report(plan, Path("out/deep/tiny"), allow_partial=False, allow_mixed=False)
    assert not Path("out").exists()


def test_what_has_not_changed_is_not_written_again(plan: Plan, tmp_path: Path) -> None:
    record_runs(plan, finished)
    written, unchanged = "report: results/tiny/report.html", "report: results/tiny/report.html (unchanged)"
    assert said() == written
    before = {file: file.stat().st_mtime_ns for file in Path("results").rglob("*")}
    assert said() == unchanged
    assert said("--allow-partial", "--allow-mixed") == unchanged
    assert {file: file.stat().st_mtime_ns for file in Path("results").rglob("*")} == before
    script = (
        "import sys; from click.testing import CliRunner; from orchestrator.cli import main; "
        "result = CliRunner().invoke(main, ['report', 'study.yaml']); assert '(unchanged)' in result.output, result; "
        "assert not {'pandas', 'scipy', 'matplotlib', 'torch', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

    table = Path("results/tiny/tables/stems.tex")
    first = table.read_bytes()
    table.unlink()
    assert said() == written
    assert table.read_bytes() == first
    table.write_text("edited")
    assert said() == written
    assert table.read_bytes() == first
    assert said() == unchanged
    Path("results/tiny/.written.json").write_text("{")
    assert said() == written

    record_file = artifact(plan, "deep")
    record_file.write_text(edited(record_file.read_text(), seconds=9.0))
    assert said() == written
    planned(tmp_path, TINY.replace("caption: Stems", "caption: Trunks"))
    assert said() == written
    assert "Trunks" in Path("results/tiny/report.md").read_text()
    assert said() == unchanged


def test_a_partial_report_does_not_stand_for_a_whole_one(plan: Plan) -> None:
    record_runs(plan, finished, {"plain", "deep"})
    assert said("--allow-partial") == "report: results/tiny/report.html"
    assert said("--allow-partial") == "report: results/tiny/report.html (unchanged)"
    assert "have no finished run" in ablate("report", "study.yaml", code=2).stderr


def watching(monkeypatch: pytest.MonkeyPatch, steps: list[Callable[[], object]], *more: str) -> Result:
    """`ablate report --watch` between whose looks these things happen."""
    left = iter(steps)
    monkeypatch.setattr(command.time, "sleep", lambda seconds: next(left)())
    return CliRunner().invoke(main, ["report", "study.yaml", "--watch", *more], catch_exceptions=False)


def test_watch_writes_what_has_ended_until_all_has(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []

    def first() -> None:
        record_runs(plan, finished, {"plain", "deep"})

    def nothing() -> None:
        pages.append(PAGE.read_text(encoding="utf-8"))

    def rest() -> None:
        record_runs(plan, finished, {"plain+c", "plain+l"})

    result = watching(monkeypatch, [first, nothing, nothing, rest])
    assert result.exit_code == 0, result.output
    first_line, *lines = [line.partition(" ")[2] for line in result.stdout.splitlines()]
    assert first_line.endswith("mlflow.db; Ctrl-C ends it")
    assert lines == [
        "no trial has finished yet",
        "2 of 4 trials finished: results/tiny/report.html",
        "4 of 4 trials finished: results/tiny/report.html",
    ]
    assert all(RELOADS in page for page in pages)
    assert RELOADS not in PAGE.read_text(encoding="utf-8"), "it has ended"
    assert "4 of 4 trials finished" in Path("results/tiny/report.md").read_text()
    again = [line.partition(" ")[2] for line in watching(monkeypatch, []).stdout.splitlines()[1:]]
    assert again == [f"{lines[-1]} (unchanged)"], "the page of a finished study is written once"


def test_watch_ends_with_what_trains(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = plan.ids["plain", 0]
    reservations = {f"{trial}-00000000": Reservation("host", 1, 0.0, (trial,), ".")}
    monkeypatch.setattr(command, "reservations_of_others", lambda: reservations)

    def ends() -> None:
        record_runs(plan, lambda cell: failed(cell) if cell == "deep" else finished(cell))
        reservations.clear()

    result = watching(monkeypatch, [lambda: None, ends])
    assert result.exit_code == 1, result.output
    assert "3 of 4 trials finished, 1 failed: results/tiny/report.html" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("nothing trains any more")


def test_watch_reads_an_edited_study_again(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_runs(plan, finished, {"plain", "deep"})
    file, report = tmp_path / "study.yaml", Path("results/tiny/report.md")

    def renamed() -> None:
        file.write_text(TINY.replace("caption: Stems", "caption: Trunks"))

    def mistaken() -> None:
        assert "Trunks" in report.read_text()
        file.write_text(TINY.replace("metrics: [top1", "metrics: [top9"))

    def away() -> None:
        file.unlink()

    def finish() -> None:
        assert "Trunks" in report.read_text()
        file.write_text(TINY.replace("caption: Stems", "caption: Roots"))
        record_runs(plan, finished, {"plain+c", "plain+l"})

    result = watching(monkeypatch, [renamed, mistaken, lambda: None, away, finish])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "top9" in line]
    assert "study.yaml:19: tables.0.metrics.0: unknown metric" in line
    assert "did you mean" in line
    assert "Roots" in report.read_text()


def test_ctrl_c_ends_a_watch_and_its_reloading(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    record_runs(plan, finished, {"plain", "deep"})

    def interrupt() -> None:
        assert RELOADS in PAGE.read_text(encoding="utf-8")
        raise KeyboardInterrupt

    result = watching(monkeypatch, [interrupt])
    assert result.exit_code == 130
    assert "ablate: interrupted" in result.stderr
    assert RELOADS not in PAGE.read_text(encoding="utf-8")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a" / "b.md"
    write_whole(file, "first")
    monkeypatch.setattr("trainer.files.uuid4", lambda: 1 // 0)
    write_whole(file, "first")
    with pytest.raises(ZeroDivisionError):
        write_whole(file, "second")
    assert file.read_text() == "first"


def test_another_study_of_the_same_name_is_told_before_it_is_replaced(plan: Plan, tmp_path: Path) -> None:
    record_runs(plan, finished)
    said()
    own, folder = Path("study.yaml"), Path("results/tiny")
    assert namesake(plan, folder) == ""
    other = Path("copy.yaml")
    other.write_text(own.read_text().replace("epochs: 2", "epochs: 3"))
    copied = expand(load_study(other))
    assert namesake(copied, folder).startswith(
        "note: results/tiny/ has the report of study.yaml, whose study is called"
    )
    own.rename("renamed.yaml")
    assert namesake(copied, folder) == "", "it is not there any more"
    Path("study.yaml").write_text(other.read_text().replace("study: tiny", "study: another"))
    assert namesake(copied, folder) == "", "it has another name by now"
