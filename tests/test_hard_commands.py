"""Commands where users and machines are unkind: terminals, pipes, addresses, files of others, plugins that exit."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner
from test_schedule import command, wait_until

from orchestrator.cli import main

pytestmark = pytest.mark.usefixtures("record")

WriteStudy = Callable[..., Path]
ABLATE = [str(Path(sys.executable).with_name("ablate"))]


def ablate(*arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in this process unless it needs an environment of its own or becomes another program."""
    if environment or arguments[0] == "ui":
        done = subprocess.run(
            [*ABLATE, *arguments], capture_output=True, text=True, errors="replace", check=False,
            env={**os.environ, **environment},
        )  # fmt: skip
    else:
        here = CliRunner().invoke(main, arguments, catch_exceptions=False)
        done = subprocess.CompletedProcess(arguments, here.exit_code, here.stdout, here.stderr)
    assert done.returncode == code, done.stdout + done.stderr
    assert arguments[0] == "logs" or "Traceback" not in done.stdout + done.stderr
    return done


def run(study: Path, *more: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    return ablate("run", str(study), "--executor", "inline", *more, code=code, **environment)


ONE = ("add_one: [c, l]", "add_one: [c]")


@pytest.mark.slow
def test_a_name_that_the_terminal_has_no_letters_for(study_file: WriteStudy) -> None:
    study = study_file(("\n  l: {", "\n  λ☃: {"), ("add_one: [c, l]", "add_one: [c, λ☃]"))
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "??" in ablate("plan", str(study), "--no-probe", **plain).stdout
    run(study, **plain)
    assert "??" in ablate("status", str(study), **plain).stdout
    states = json.loads(ablate("status", str(study), "--json").stdout)["trials"]
    assert {trial["state"] for trial in states} == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("out", ["| head -1", "> /dev/full", ">&-"])
def test_nobody_who_reads_is_no_reason_to_stop(out: str, study_file: WriteStudy) -> None:
    study = study_file(ONE)
    line = f"{ABLATE[0]} run {study} --executor inline {out}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("results/tiny/report.md").exists()
    assert "3 of 3 trials done" in ablate("status", str(study)).stdout


@pytest.mark.slow
def test_a_terminal_shows_the_trials_while_they_run_and_a_line_when_they_end(study_file: WriteStudy) -> None:
    ours, theirs = pty.openpty()
    line = [*ABLATE, "run", str(study_file(ONE)), "--executor", "inline"]
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as run:
        os.close(theirs)
        shown = _read_to_its_end(ours, run)
    assert run.returncode == 0
    assert "epoch 0/" in shown
    assert [f"[{n}/3]" in shown for n in (1, 2, 3)] == [True] * 3
    assert shown.count("3 trials trained") == 1
    assert "report: results/tiny/report.html" in shown
    assert "\x1b[?25l" not in shown, "a process that is killed can't show the cursor again"
    assert "3/3 trials" in shown
    assert "starting" not in shown.partition("[1/3]")[2]


def _read_to_its_end(terminal: int, process: subprocess.Popen[bytes]) -> str:
    """What a process writes to a terminal; one that writes nothing for a minute is ended."""
    parts = []
    while select.select([terminal], [], [], 60)[0]:
        try:
            parts.append(os.read(terminal, 65536))
        except OSError:  # nobody has the terminal open any more
            break
    else:
        process.kill()
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.mark.slow
def test_closed_streams_are_no_reason_to_stop(study_file: WriteStudy) -> None:
    """By Ray, which wants a stderr; and no file that is opened takes the place of one."""
    study = study_file(ONE)
    done = subprocess.run(["bash", "-c", f"exec {ABLATE[0]} run {study} <&- >&- 2>&-"], check=False)
    assert done.returncode == 0
    assert "3 of 3 trials done" in ablate("status", str(study)).stdout


def test_a_narrow_terminal_and_a_pipe_get_whole_names_and_numbers(study_file: WriteStudy) -> None:
    name = "a_name_that_takes_" + "so_many_letters_" * 5
    study = study_file(("  l: {loss", f"  {name}: {{loss"), ("add_one: [c, l]", f"add_one: [c, {name}]"))
    for what, said in ((["plan", "--no-probe"], " 0/1"), (["status"], "1 to run")):
        lines = ablate(what[0], str(study), *what[1:], COLUMNS="40").stdout.splitlines()
        (row,) = [line for line in lines if line.startswith(f"plain+{name}")]
        assert row.rstrip().endswith(said)
        assert "…" not in "".join(lines)


def test_what_moves_a_cursor_is_written_out(study_file: WriteStudy) -> None:
    study = study_file(("  l: {loss", '  "x\\e[31my\\n": {loss'))
    (line,) = ablate("plan", str(study), code=2).stderr.splitlines()
    assert "\\x1b[31my" in line


@pytest.mark.parametrize("asked", [["--help"], ["run", "--help"], ["options"]])
def test_an_output_that_is_full_is_a_line(asked: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*ABLATE, *asked], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ablate: no space left for ")
    assert done.stderr.count("\n") == 1


def test_a_name_of_two_lines_is_written_on_one(study_file: WriteStudy) -> None:
    study = study_file(("{kind: digits, image_size: 16}", '{kind: image_folder, path: "a\\nb", image_size: 16}'))
    Path("a\nb", "cat").mkdir(parents=True)
    (line,) = run(study, code=2).stderr.splitlines()
    assert "a\\nb" in line


MEMORY = ["sqlite://", "sqlite:///:memory:", "sqlite:///", "sqlite:///file::memory:?cache=shared&uri=true"]


@pytest.mark.parametrize("uri", MEMORY)
@pytest.mark.parametrize("what", ["run", "plan", "status", "report"])
def test_a_record_that_would_end_with_the_process(uri: str, what: str, study_file: WriteStudy) -> None:
    (line,) = ablate(what, str(study_file()), code=2, MLFLOW_TRACKING_URI=uri).stderr.splitlines()
    assert f"MLFLOW_TRACKING_URI {uri}: no file that outlives the process; expected sqlite:///FILE" in line
    assert not Path(".ablate/trials").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["sqlite:///{}?timeout=3", "sqlite+pysqlite:///{}"])
def test_other_words_for_an_sqlite_file(form: str, study_file: WriteStudy, tmp_path: Path) -> None:
    uri = form.format(tmp_path / "x.db")
    run(study_file(ONE), MLFLOW_TRACKING_URI=uri)
    assert "3 of 3 trials done" in ablate("status", str(tmp_path / "study.yaml"), MLFLOW_TRACKING_URI=uri).stdout
    assert [file.name for file in tmp_path.glob("*x.db*")] == ["x.db"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a%20b.db", "50%.db"])
def test_a_percent_sign_in_an_address_means_what_it_means_to_mlflow(
    name: str, study_file: WriteStudy, tmp_path: Path
) -> None:
    study, uri = study_file(ONE), f"sqlite:///{tmp_path / name}"
    expected = sqlalchemy.make_url(uri).database
    run(study, MLFLOW_TRACKING_URI=uri)
    assert "3 of 3 trials done" in ablate("status", str(study), MLFLOW_TRACKING_URI=uri).stdout
    assert [str(file) for file in tmp_path.glob("*.db*") if file.name != "mlflow.db"] == [expected]


def test_an_address_of_a_record_that_is_not_there_is_noted(study_file: WriteStudy, tmp_path: Path) -> None:
    study, uri = study_file(ONE), f"sqlite:///{tmp_path / 'slip.db'}"
    said = f"note: {tmp_path / 'slip.db'}, which MLFLOW_TRACKING_URI names, is not there yet"
    for asked in (["plan", str(study), "--no-probe"], ["status", str(study)]):
        assert said in ablate(*asked, MLFLOW_TRACKING_URI=uri).stdout
        assert "note" not in ablate(*asked).stdout
    Path("mlflow.db").unlink()
    assert "note" not in ablate("status", str(study)).stdout, "the usual place of a record needs no note"


def test_a_record_of_something_else_or_of_another_release(study_file: WriteStudy, tmp_path: Path) -> None:
    study = study_file()
    shutil.copy("mlflow.db", "ours.db")
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'feedfacefeed'")
    for arguments in (["run", str(study)], ["ui"]):
        (line,) = ablate(*arguments, code=2).stderr.splitlines()
        assert "mlflow.db: written by another MLflow, its schema feedfacefeed is unknown to MLflow" in line
    Path("mlflow.db").unlink()
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    before = Path("mlflow.db").read_bytes()
    for arguments in (["run", str(study)], ["ui"]):
        (line,) = ablate(*arguments, code=2).stderr.splitlines()
        assert "mlflow.db: SQLite, but no record of MLflow's; move it away" in line
    for arguments in (["plan", str(study)], ["status", str(study)]):
        (line,) = ablate(*arguments, code=2).stderr.splitlines()
        assert "mlflow.db: it is no record of MLflow's, or of another release (no such " in line
    assert Path("mlflow.db").read_bytes() == before
    Path("mlflow.db").write_text("a text")
    assert "mlflow.db: damaged (file is not a database)" in ablate("ui", code=2).stderr
    Path("mlflow.db").unlink()
    Path("mlflow.db").mkdir()
    assert "mlflow.db: is a folder, expected a file" in ablate("ui", code=2).stderr


@pytest.mark.slow
def test_a_record_of_a_newer_ablate_is_nothing_to_delete(study_file: WriteStudy) -> None:
    study = study_file(ONE)
    run(study)
    for file in Path("mlruns").glob("*/*/artifacts/trial.json"):
        data = json.loads(file.read_text())
        file.write_text(json.dumps({**data, "schema_version": 99, "status": "splendid"}))
    for arguments in (["run", str(study)], ["report", str(study)]):
        (line,) = ablate(*arguments, code=2).stderr.splitlines()
        assert "3 trials: recorded by a newer ablate (format 99, known 1); expected that one, or newer" in line
        assert "delete" not in line


PLUGIN = '''
"""Leaves in its own way."""
import os, sys
from typing import Literal
from experiments.options import Schedule


class Leaves(Schedule):
    """Ends in the first step."""

    kind: Literal["leaves"] = "leaves"
    how: str

    def factor(self, moment):
        if self.how == "exit":
            sys.exit(4)
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "fork":
            if os.fork() == 0:
                sys.exit(4)
            os.wait()
            return 1.0
        raise ValueError(os.environ["MLFLOW_TRACKING_URI"])
'''


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_plugin_that_exits_is_a_failed_trial(executor: str, study_file: WriteStudy) -> None:
    Path("leaves.py").write_text(PLUGIN)
    study = study_file(
        ONE, ("{kind: cosine}", "{kind: leaves, how: exit}"), ("\nstudy: tiny", "\nplugins: [leaves.py]\nstudy: tiny")
    )
    done = ablate("run", str(study), "--executor", executor, "--retries", "0", code=1)
    assert "failed: plain+c seed 0: SystemExit: 4 (leaves.py:16) (log: " in done.stdout
    states = json.loads(ablate("status", str(study), "--json").stdout)["trials"]
    assert sorted(trial["state"] for trial in states) == ["done", "done", "failed"]
    (failed,) = [trial for trial in states if trial["state"] == "failed"]
    assert "SystemExit: 4 (leaves.py:16)" in failed["reason"]
    assert "sys.exit(4)" in ablate("logs", failed["id"]).stdout


@pytest.mark.slow
def test_what_else_a_plugin_may_do_to_its_process(study_file: WriteStudy) -> None:
    """A child that it forks does not go on as a second worker, and its KeyboardInterrupt is not the user's."""
    Path("leaves.py").write_text(PLUGIN)
    study = study_file(
        ("c: {schedule: {kind: cosine}}", "c: {schedule: {kind: leaves, how: interrupt}}"),
        ("l: {loss.label_smoothing: 0.1}", "l: {schedule: {kind: leaves, how: fork}}"),
        ("\nstudy: tiny", "\nplugins: [leaves.py]\nstudy: tiny"),
    )
    done = ablate("run", str(study), "--retries", "0", code=1)
    assert "failed: plain+c seed 0: KeyboardInterrupt (leaves.py:18) (log: " in done.stdout
    states = json.loads(ablate("status", str(study), "--json").stdout)["trials"]
    assert sorted(trial["state"] for trial in states) == ["done", "done", "done", "failed"]


@pytest.mark.slow
def test_a_password_in_a_trial_s_error_is_nowhere(study_file: WriteStudy, tmp_path: Path) -> None:
    """A server's address, quoted by whatever a plugin calls; nothing has to answer there for that."""
    Path("leaves.py").write_text(PLUGIN)
    study = study_file(
        ONE, ("{kind: cosine}", "{kind: leaves, how: quote}"), ("\nstudy: tiny", "\nplugins: [leaves.py]\nstudy: tiny")
    )
    script = (
        "import os, sys; from pathlib import Path; from experiments import expand, load_study; "
        "from experiments.job import make_job; from experiments.trial import run_trial; "
        "from plugins import Ignores; "
        "plan = expand(load_study(sys.argv[1])); trial = next(t for t in plan.trials if t.cell == 'plain+c'); "
        "print(run_trial(make_job(trial, Path('trial'), plan.study.plugins), Ignores()).reason)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(study)], capture_output=True, text=True, check=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": "http://me:S3cretPw@127.0.0.1:5199", "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    texts = done.stdout + done.stderr + Path("trial/log.txt").read_text()
    assert "S3cretPw" not in texts
    assert "***" in texts


@pytest.mark.slow
def test_what_a_study_no_longer_asks_for_is_taken_away(study_file: WriteStudy) -> None:
    more = "tables:\n  - {id: more, caption: Another, rows: stem, metrics: [top1]}\n"
    study = study_file(ONE, ("tables:\n", more))
    run(study)
    tables = Path("results/tiny/tables")
    assert (tables / "more.tex").exists()
    (tables / "more.md").write_text("edited by hand")
    (tables / "mine.tex").write_text("somebody's own")
    run(study_file(ONE))
    assert not (tables / "more.tex").exists()
    assert not (Path("results/tiny/figures") / "more.pdf").exists()
    assert (tables / "more.md").read_text() == "edited by hand"
    assert (tables / "mine.tex").exists()


@pytest.mark.slow
def test_a_complete_study_says_what_it_cost(study_file: WriteStudy) -> None:
    study = study_file(ONE)
    run(study)
    (line,) = ablate("report", str(study), "--out", "/proc/x", code=2).stderr.splitlines()
    assert "/proc/x" in line
    assert "\ntheir training times add up to " in run(study).stdout


@pytest.mark.slow
def test_plan_names_what_is_neither_done_nor_simply_to_run(study_file: WriteStudy) -> None:
    Path("leaves.py").write_text(PLUGIN)
    study = study_file(
        ONE, ("{kind: cosine}", "{kind: leaves, how: exit}"), ("\nstudy: tiny", "\nplugins: [leaves.py]\nstudy: tiny")
    )
    run(study, code=1)
    said = ablate("plan", str(study), "--no-probe").stdout
    assert "plain+c seed 0: failed, will be tried again: SystemExit: 4" in said


@pytest.mark.slow
def test_a_terminal_that_closes_is_an_interruption(study_file: WriteStudy) -> None:
    study = study_file(("epochs: 2", "epochs: 12"), ONE)
    for prefix, code in ((["nohup"], 0), ([], 130)):
        process = subprocess.Popen(
            [*prefix, *command("run", str(study), "--executor", "inline", "--seeds", "1" if prefix else "2")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )  # fmt: skip
        before = len(list(Path(".ablate/trials").glob("*/journal.jsonl")))
        wait_until(lambda b=before: len(list(Path(".ablate/trials").glob("*/journal.jsonl"))) > b, "a trial to begin")  # type: ignore[misc]
        process.send_signal(signal.SIGHUP)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
    assert "interrupted; what is finished is recorded, and the same command goes on" in output


@pytest.mark.slow
def test_what_a_process_has_left_is_taken_on(study_file: WriteStudy) -> None:
    study = study_file(("epochs: 2", "epochs: 25"), ONE)
    first = subprocess.Popen(command("run", str(study), "--executor", "inline"), stdout=subprocess.DEVNULL)
    wait_until(lambda: bool(list(Path(".ablate/trials").glob("*/journal.jsonl"))), "the first to train")
    second = subprocess.Popen(
        command("run", str(study), "--executor", "inline", "--seeds", "2"), stdout=subprocess.PIPE, text=True
    )
    time.sleep(8)
    first.kill()
    first.wait()
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert "3 trials left to a process that has ended: they are taken on" in output
    assert "6 of 6 trials done" in ablate("status", str(study), "--seeds", "2").stdout


NUMBERS = {
    "seeds": ("tables:", "seeds: 1000000000\ntables:", "seeds"),
    "epochs": ("epochs: 2", "epochs: 100000000000000000000", "epochs"),
    "layers": ("layers: [1, 1, 1, 1]", "layers: [1000000000, 1, 1, 1]", "layers"),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_beyond_all_measure(what: str, study_file: WriteStudy) -> None:
    old, new, place = NUMBERS[what]
    (line,) = ablate("plan", str(study_file((old, new))), code=2).stderr.splitlines()
    assert place in line


def test_more_that_is_refused_in_a_line(study_file: WriteStudy) -> None:
    study = str(study_file())
    assert "--address: got nothing, expected host:port" in ablate("run", study, "--address", "", code=2).stderr
    assert "99999 is not in the range" in ablate("ui", "--port", "99999", code=2).stderr
    assert "is not in the range" in ablate("run", study, "--seeds", "99999999999", code=2).stderr
    long = study_file(("\nstudy: tiny", f"\nstudy: {'x' * 300}"))
    assert "got 300 letters, expected at most 100" in ablate("plan", str(long), code=2).stderr
    many = study_file(("{precision: fp32}", "{precision: fp32, threads: 1000}"))
    assert "numerics.threads: a trial of 1000 threads on" in ablate("run", str(many), code=2).stderr
