"""`ablate run` on real MLflow with the inline executor: record, report, idempotence, failures."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TINY
from mlflow import MlflowClient
from mlflow.entities import Run
from test_image_folder import fill

from orchestrator.cli import main
from trainer.errors import UserError

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("record")


def ablate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def results() -> list[dict[str, str]]:
    return list(csv.DictReader(Path("results/tiny/results.csv").read_text().splitlines()))


def recorded(experiment: str = "tiny") -> tuple[list[Run], list[Run]]:
    """(parent runs, child runs), oldest first."""
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = sorted(client.search_runs([found.experiment_id]), key=lambda run: run.info.start_time)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in runs if run not in parents]


def test_a_study_runs_is_recorded_and_reported(study_file: WriteStudy) -> None:
    study = str(study_file(("designs:", "seeds: 2\ndesigns:")))
    result = ablate("run", study, "--executor", "inline")
    assert "4 cells, 8 trials; " in result.stdout
    assert "[8/8]" in result.stdout

    parents, children = recorded()
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert len(children) == 8
    (first,) = [run for run in children if run.info.run_name == "plain seed 0"]
    assert first.info.status == "FINISHED"
    assert first.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
    assert first.data.params["factor.stem"] == "plain"
    assert first.data.params["optimizer.lr"] == "0.05"
    assert first.inputs.dataset_inputs[0].dataset.name == "digits"
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    for metric in ("top1", "top5", "val_loss", "train_loss", "learning_rate", "epoch_seconds", "images_per_second"):
        assert [point.step for point in client.get_metric_history(first.info.run_id, metric)] == [1, 2]

    rows = results()
    assert len(rows) == 8
    assert [row["cell"] for row in rows[:4]] == ["plain", "deep", "plain+c", "plain+l"]
    assert [row["seed"] for row in rows] == ["0"] * 4 + ["1"] * 4
    assert list(rows[0])[:10] == ["trial", "cell", "stem", "c", "l", "seed", "status", "params", "macs", "epochs"]
    history = [point.value for point in client.get_metric_history(first.info.run_id, "top1")]
    assert float(rows[0]["top1"]) == history[-1]
    assert float(rows[0]["best_top1"]) == max(history)

    numbers = json.loads(Path("results/tiny/report.json").read_text())["numbers"]
    plain = next(n for n in numbers if n["row"] == "plain" and n["column"] == "top1")
    ours = [float(row["top1"]) for row in rows if row["cell"] == "plain"]
    assert plain["mean"] == pytest.approx(sum(ours) / 2)
    assert (plain["n"], plain["published"]) == (2, 0.5)
    held = {n["row"]: n["mean"] for n in numbers if (n["table"], n["column"]) == ("cost", "core_hours")}
    spent = sum(float(row["seconds"]) for row in rows if row["cell"] == "plain")
    assert held["plain"] == pytest.approx(spent / 3600), "each trial held one core"
    assert "Initial weights: drawn at random (trained from scratch)" in Path("results/tiny/report.md").read_text()
    artifacts = [artifact.path for artifact in client.list_artifacts(first.info.run_id)]
    assert artifacts == ["trial.json", "weights.safetensors"]
    assert len(first.data.tags["ablate.weights"]) == 64
    for name in ("report.md", "report.html", "tables/stems.md", "tables/stems.tex", "tables/stems.csv"):
        assert (Path("results/tiny") / name).stat().st_size > 100
    for kind in ("svg", "pdf", "png", "csv"):
        assert (Path("results/tiny/figures") / f"stems.{kind}").stat().st_size > 100


def test_what_is_finished_is_not_run_again(study_file: WriteStudy) -> None:
    ablate("run", str(study_file()), "--executor", "inline")
    before = {file: file.read_bytes() for file in Path("results/tiny").rglob("*") if file.is_file()}
    again = ablate("run", str(study_file()), "--executor", "inline")
    assert "4 of them done" in again.stdout
    assert len(recorded()[1]) == 4
    assert {file: file.read_bytes() for file in Path("results/tiny").rglob("*") if file.is_file()} == before

    renamed = study_file(
        ("  c: {schedule", "  cos: {schedule"), ("[c, l]", "[cos, l]"), ("plain+c.top1", "plain+cos.top1")
    )
    ablate("run", str(renamed), "--executor", "inline")
    assert len(recorded()[1]) == 4, "a renamed factor loses no result"
    rows = results()
    assert [row["cell"] for row in rows] == ["plain", "deep", "plain+cos", "plain+l"]

    ablate("run", str(study_file()), "--executor", "inline", "--seeds", "2")
    assert len(recorded()[1]) == 8, "only the new seed ran"
    elsewhere = study_file(("study: tiny", "study: other"))
    plan = json.loads(ablate("plan", str(elsewhere), "--json").stdout)
    assert {trial["state"] for trial in plan["trials"]} == {"done"}, "another study shares what was trained"


def test_other_data_are_another_result(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    ablate("run", str(study_file()), "--executor", "inline")
    monkeypatch.setattr("experiments.datasets.digits.Digits.fingerprint", lambda self: "0" * 32)
    plan = json.loads(ablate("plan", str(study_file()), "--json").stdout)
    assert {trial["state"] for trial in plan["trials"]} == {"to run"}


def test_a_diverging_trial_fails_and_the_others_go_on(study_file: WriteStudy) -> None:
    study = study_file(("c: {schedule: {kind: cosine}}", "c: {optimizer.lr: 1.0e+30}"))
    result = ablate("run", str(study), "--executor", "inline", code=1)
    assert "failed: plain+c seed 0" in result.stdout
    assert "became nan in epoch 1" in result.stdout.replace("inf", "nan")
    assert "log.txt" in result.stdout
    _, children = recorded()
    assert sorted(run.info.status for run in children) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    (failed,) = [run for run in children if run.info.status == "FAILED"]
    assert "epoch 1" in failed.data.tags["ablate.reason"]
    text = Path("results/tiny/report.md").read_text()
    assert "3 of 4 trials finished" in text
    assert "Failed: plain+c seed 0" in text
    rows = results()
    assert [row["status"] for row in rows] == ["finished", "finished", "failed", "finished"]
    log = next(line for line in result.stdout.split() if line.endswith("log.txt"))
    assert "Diverged" in Path(log).read_text()
    refused = ablate("report", str(study), code=2)
    assert "1 of 4 trials have no finished run, first plain+c seed 0" in refused.stderr
    ablate("report", str(study), "--allow-partial", "--out", "elsewhere")
    assert Path("elsewhere/report.md").exists()
    assert "1 failed" in ablate("status", str(study)).stdout


def test_an_interrupted_run_goes_on_where_it_was(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.driver import Driver

    plain_epoch = Driver.epoch
    calls = 0

    def interrupt(self: Driver, trial: str, number: int, metrics: dict[str, float]) -> None:
        nonlocal calls
        calls += 1
        plain_epoch(self, trial, number, metrics)
        if calls == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Driver, "epoch", interrupt)
    result = ablate("run", str(study_file()), "--executor", "inline", code=130)
    assert "the same command goes on" in result.stdout
    parents, children = recorded()
    assert [run.info.status for run in parents] == ["KILLED"]
    assert [run.info.status for run in children] == ["FINISHED", "KILLED"]
    states = [t["state"] for t in json.loads(ablate("plan", str(study_file()), "--json").stdout)["trials"]]
    assert sorted(states) == ["done", "resume from epoch 1", "to run", "to run"]
    cell = ("plain", "deep", "plain+c", "plain+l")[states.index("resume from epoch 1")]

    monkeypatch.setattr(Driver, "epoch", plain_epoch)
    ablate("run", str(study_file()), "--executor", "inline")
    _, children = recorded()
    assert [run.info.status for run in children] == ["FINISHED", "KILLED", "FINISHED", "FINISHED", "FINISHED"]
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    (again,) = [run for run in children[2:] if run.info.run_name == children[1].info.run_name]
    steps = [point.step for point in client.get_metric_history(again.info.run_id, "top1")]
    assert steps == [1, 2], "the resumed run holds every epoch once"
    resumed = [row for row in results() if row["cell"] == cell]

    Path("fresh").mkdir()
    monkeypatch.chdir("fresh")
    ablate("run", str(study_file()), "--executor", "inline")
    fresh = [row for row in results() if row["cell"] == cell]
    for metric in ("top1", "val_loss", "train_loss"):
        assert resumed[0][metric] == fresh[0][metric], "interrupted and resumed equals uninterrupted"


def test_a_trial_that_the_executor_leaves_out_has_failed(
    study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.driver import Driver

    monkeypatch.setattr(Driver, "is_over", lambda self: len(self.over) == 3)
    result = ablate("run", str(study_file()), "--executor", "inline", code=1)
    assert re.search(r"^failed: \S+ seed 0: the executor ended without finishing it$", result.stdout, re.MULTILINE)
    assert [run.info.status for run in recorded()[0]] == ["FAILED"]


def test_an_interrupt_before_training_is_an_interrupt(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.run.prepare_data", interrupt)
    assert "interrupted" in ablate("run", str(study_file()), "--executor", "inline", code=130).stderr


def test_runs_of_a_driver_that_was_killed_do_not_stay_running(study_file: WriteStudy) -> None:
    ablate("run", str(study_file()), "--executor", "inline")
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    parents, children = recorded()
    dead = client.create_run(
        parents[0].info.experiment_id,
        tags={**children[0].data.tags, "ablate.pid": "999999999", "ablate.process": "gone", "ablate.status": "running"},
    )
    # killed between its result and its end
    recorded_already = client.create_run(
        parents[0].info.experiment_id,
        tags={
            **children[1].data.tags,
            "ablate.pid": "999999999",
            "ablate.process": "gone",
            "ablate.status": "finished",
        },
    )
    client.delete_run(children[0].info.run_id)
    ablate("run", str(study_file()), "--executor", "inline")
    assert client.get_run(dead.info.run_id).info.status == "KILLED"
    ended = client.get_run(recorded_already.info.run_id)
    assert (ended.info.status, ended.data.tags["ablate.status"]) == ("FINISHED", "finished")


def test_the_file_is_read_as_mlflow_reads_it(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.tracking import search_attempts
    from experiments.tracking.attempts import read_embedded

    ablate(
        "run",
        str(study_file(("c: {schedule: {kind: cosine}}", "c: {optimizer.lr: 1.0e+30}"))),
        "--executor",
        "inline",
        code=1,
    )
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    client.delete_run(recorded()[1][0].info.run_id)
    other = client.create_experiment("deleted")
    client.create_run(other, tags={"ablate.trial": "x"})
    client.delete_experiment(other)
    read = read_embedded(Path("mlflow.db"))
    assert sorted(attempt.status for attempt in read) == ["failed", "finished", "finished"]
    assert read == search_attempts()


def test_a_write_that_was_cut_short_is_undone_by_the_next_reader(record: Path, study_file: WriteStudy) -> None:
    # a small page cache makes SQLite write to the file before the transaction ends, as with a large one
    cut_short = (
        "import os, sqlite3; c = sqlite3.connect('mlflow.db'); c.execute('PRAGMA cache_size = 1');"
        "c.executemany('INSERT INTO experiments (experiment_id, name) VALUES (?, ?)',"
        " [(i, str(i) * 900) for i in range(10, 900)]); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", cut_short], check=False)
    assert Path("mlflow.db-journal").stat().st_size > 0
    assert ablate("status", str(study_file())).output.endswith("0 of 4 trials done\n")
    assert not Path("mlflow.db-journal").exists()


def test_a_record_that_is_no_database_is_refused(study_file: WriteStudy) -> None:
    Path("mlflow.db").write_text("this is not a database, it is only some text that stands in its place")
    result = ablate("run", str(study_file()), "--executor", "inline", code=2)
    assert "mlflow.db: damaged (file is not a database); move it away, mlflow.db-wal and -shm with it" in result.stderr
    assert "\n" not in result.stderr.strip()


def test_names_that_mlflow_refuses_are_recorded_all_the_same(study_file: WriteStudy) -> None:
    study = study_file(
        ("  c: {", '  "f\'x (10)": {'), ("[c, l]", '["f\'x (10)", l]'), ("plain+c.top1", "plain+f'x (10).top1")
    )
    ablate("run", str(study), "--executor", "inline")
    params = recorded()[1][0].data.params
    assert params["factor.f_x _10_"] == "off"
    assert params["optimizer.lr"] == "0.05"


def test_a_record_that_was_deleted_is_made_again(study_file: WriteStudy) -> None:
    study = str(study_file())
    ablate("run", study, "--executor", "inline")
    for file in Path("mlruns").rglob("trial.json"):
        file.unlink()
    assert "4 trials to run although trained before: its record was deleted" in ablate("plan", study).stdout
    assert "(4 trials: its record was deleted)" in ablate("report", study, code=2).stderr
    ablate("run", study, "--executor", "inline")
    assert len(results()) == 4


def test_a_report_that_fails_where_trials_have_failed_is_no_mistake_of_the_user_s(
    study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("the record can't be opened")

    study = str(study_file(("c: {schedule: {kind: cosine}}", "c: {optimizer.lr: 1.0e+30}")))
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.commands.run.renew_report", refuse)
        said = ablate("run", study, "--executor", "inline", code=1).stdout.splitlines()
    assert said[-3].startswith("failed: plain+c seed 0: ")
    assert said[-2] == "1 trial failed; the same command tries it again"
    assert said[-1] == "no report: the record can't be opened"


def test_an_earlier_report_is_not_taken_for_one_of_a_run_in_which_all_failed(study_file: WriteStudy) -> None:
    def last_line(rate: str, code: int) -> str:
        study = str(study_file(("lr: 0.05", f"lr: {rate}")))
        return ablate("run", study, "--executor", "inline", code=code).stdout.splitlines()[-1]

    assert last_line("1.0e+30", 1) == "no report: no trial has finished"
    assert last_line("0.05", 0) == "report: results/tiny/report.html"
    assert last_line("1.0e+29", 1) == "no report: no trial has finished; results/tiny/report.html is of an earlier run"


@pytest.mark.parametrize("name", ["results", ".ablate"])
def test_a_file_in_the_way_is_named_before_training(name: str, study_file: WriteStudy) -> None:
    Path(name).write_text("in the way")
    result = ablate("run", str(study_file()), "--executor", "inline", code=2)
    assert f"{name}: is a file" in result.stderr
    assert result.stdout == ""


def test_a_damaged_journal_starts_over(study_file: WriteStudy) -> None:
    study = str(study_file())
    ablate("run", study, "--executor", "inline")
    before = results()
    for file in Path("mlruns").rglob("trial.json"):
        file.unlink()
    for file in Path(".ablate").rglob("journal.jsonl"):
        file.write_bytes(bytes(range(256)))
    ablate("run", study, "--executor", "inline")
    assert [row["top1"] for row in results()] == [row["top1"] for row in before]


def test_more_seeds_may_be_reported(study_file: WriteStudy) -> None:
    study = str(study_file())
    ablate("run", study, "--executor", "inline", "--seeds", "2")
    ablate("report", study, "--seeds", "2")
    rows = list(csv.DictReader(Path("results/tiny-seeds2/results.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert "8 of 8 trials done" in ablate("status", study, "--seeds", "2").stdout


def test_parameters_and_macs_come_from_the_worker(study_file: WriteStudy, tmp_path: Path) -> None:
    fill(tmp_path / "pets", cat=12, dog=12)
    folder = f"dataset: {{kind: image_folder, path: {tmp_path / 'pets'}, image_size: 16}}"
    study = study_file(("dataset: {kind: digits, image_size: 16}", folder), ("batch_size: 256", "batch_size: 8"))
    ablate("run", str(study), "--executor", "inline")
    assert all(int(row["params"]) > 1000 and int(row["macs"]) > 1000 for row in results())
    assert {run.data.params["params"] for run in recorded()[1]} == {row["params"] for row in results()}


@pytest.mark.parametrize("command", ["plan", "run"])
def test_the_password_of_the_record_is_never_said(
    command: str, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = ablate(command, str(study_file()), code=2).output
    assert "s3cret" not in said
    assert "127.0.0.1:9" in said


def test_a_plan_says_which_other_profiles_would_be_refused(study_file: WriteStudy) -> None:
    profiles = "\nprofiles:\n  good: {epochs: 1}\n  quick: {optimizer.learning_rate: 1}\n"
    said = ablate("plan", str(study_file(text=TINY + profiles)), "--no-probe").stdout
    (line,) = [line for line in said.splitlines() if "profile" in line]
    assert line.startswith("note: the profile quick can't be used: ")
    assert "profiles.quick.optimizer.learning_rate: unknown setting" in line
