"""Distillation from a trial of the study: planned, trained first and once, found through the record; and predict."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from plugins import FEW, VANDAL, written

from experiments import UserError, expand, load_study
from experiments.datasets.image_folder import ImageFolder
from experiments.training.fingerprint import file_digest
from experiments.training.weights import find_attempt, finished_attempts, weights_of
from orchestrator.cli import main
from orchestrator.order import in_order

WriteStudy = Callable[..., Path]

STUDY = """
study: taught
question: Does a teacher help?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}
  numerics: {precision: fp32}
  epochs: 1
  batch_size: 256
factors:
  size: {small: {}, large: {architecture.width: 8}}
  d: {refinements.distillation: {teacher: large, temperature: 4}}
designs:
  - list: [small, small+d, large]
seeds: 2
"""


def ablate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def states(study: Path) -> dict[str, str]:
    trials = json.loads(ablate("plan", str(study), "--json").stdout)["trials"]
    return {f"{trial['cell']} {trial['seed']}": trial["state"] for trial in trials}


class TestPlan:
    def test_the_teacher_is_the_first_seeds_trial_of_its_cell(self, study_file: WriteStudy) -> None:
        plan = expand(load_study(study_file(text=STUDY)))
        teacher = plan.ids["large", 0]
        assert plan.needs == {plan.ids["small+d", seed]: (teacher,) for seed in (0, 1)}
        for cell in plan.cells:
            references = json.dumps(cell.recipe.identity())
            assert (teacher in references) == (cell.name == "small+d")
        names = [f"{trial.cell} {trial.seed}" for trial in in_order(plan, plan.trials, lambda trial: 0.0)]
        assert names == ["large 0", "small 0", "small+d 0", "small 1", "small+d 1", "large 1"]

    def test_the_longest_of_a_seed_comes_first(self, study_file: WriteStudy) -> None:
        plan = expand(load_study(study_file(text=STUDY)))
        length = {"small": 1.0, "small+d": 3.0, "large": 2.0}
        names = [f"{trial.cell} {trial.seed}" for trial in in_order(plan, plan.trials, lambda t: length[t.cell])]
        assert names == ["large 0", "small+d 0", "small 0", "small+d 1", "large 1", "small 1"]

    def test_another_teacher_is_another_trial_and_another_name_is_not(self, study_file: WriteStudy) -> None:
        def student(*replaced: tuple[str, str]) -> str:
            plan = expand(load_study(study_file(*replaced, text=STUDY)))
            return next(trial.id for trial in plan.trials if "+d" in trial.cell)

        before = student()
        assert (
            student(("large: {arch", "big: {arch"), ("teacher: large", "teacher: big"), (", large]", ", big]"))
            == before
        )
        assert student(("width: 8", "width: 12")) != before
        assert student(("temperature: 4", "temperature: 5")) != before

    def test_a_teacher_may_be_taught(self, study_file: WriteStudy) -> None:
        text = STUDY.replace(
            "large: {architecture.width: 8}}", "large: {architecture.width: 8}, huge: {architecture.width: 16}}"
        )
        text = text.replace("designs:", "  e: {refinements.distillation: {teacher: huge}}\ndesigns:")
        text = text.replace("teacher: large,", "teacher: large+e,").replace(
            "[small, small+d, large]", "[small+d, large+e, huge]"
        )
        plan = expand(load_study(study_file(text=text)))
        needs = {plan.ids["small+d", seed]: (plan.ids["large+e", 0],) for seed in (0, 1)}
        assert plan.needs == needs | {plan.ids["large+e", seed]: (plan.ids["huge", 0],) for seed in (0, 1)}

    @pytest.mark.parametrize(
        ("replaced", "said"),
        [
            (("teacher: large,", "teacher: larg,"), "no option or switch is called 'larg'"),
            (("[small, small+d, large]", "[small, small+d]"), "teacher 'large' is cell 'large', which no design makes"),
            (("teacher: large,", "teacher: small+d,"), "a circle: small+d, which is taught by small+d"),
            (
                ("large: {architecture.width: 8}", "large: {dataset: {kind: glyphs, image_size: 16}}"),
                "the teacher 'large' has 62 classes, expected those of cell 'small+d': 10",
            ),
            (
                ("large: {architecture.width: 8}", "large: {dataset.mean: [0, 0, 0]}"),
                "the teacher 'large' has dataset.mean [0.0, 0.0, 0.0]",
            ),
            (
                ("large: {architecture.width: 8}", "large: {dataset.image_size: 24}"),
                "the teacher 'large' has dataset.image_size 24, cell 'small+d' 16; expected the same images for both",
            ),
            (
                ("large: {architecture.width: 8}", "large: {dataset.train_fraction: 0.5}"),
                "the teacher 'large' has dataset.train_fraction 0.5, cell 'small+d' 0.8",
            ),
            (("image_size: 16", "image_size: 16, split_seed: trial"), "got split_seed: trial, expected one split"),
            (("seeds: 2", "seeds: 2\nconstraints: [params < 60e3]"), "teacher 'large' is left out by the constraint"),
        ],
    )
    def test_what_can_not_teach_is_refused_with_the_line(
        self, replaced: tuple[str, str], said: str, study_file: WriteStudy
    ) -> None:
        with pytest.raises(UserError) as caught:
            expand(load_study(study_file(replaced, text=STUDY)))
        assert said in str(caught.value)
        assert "study.yaml:13: factors.d.refinements.distillation.teacher: " in str(caught.value)


@pytest.mark.usefixtures("record")
class TestRun:
    def test_the_teacher_is_trained_first_and_once(self, study_file: WriteStudy) -> None:
        study = study_file(text=STUDY)
        said = ablate("run", str(study), "--executor", "inline").stdout
        order = [line.split("] ")[1].split("  ")[0] for line in said.splitlines() if line.startswith("[")]
        assert order[0] == "large seed 0"
        assert sorted(order[1:3]) in (["small seed 0", "small+d seed 0"], ["small seed 0", "small seed 1"])
        assert len(order) == 6
        assert set(states(study).values()) == {"done"}

        plan = expand(load_study(study))
        attempt = find_attempt(plan.ids["large", 0])
        record, weights = weights_of(attempt)
        assert record.weights == file_digest(weights)
        assert not list(Path(".ablate").rglob("*.safetensors")), "the record has them, the working folder no more"
        assert find_attempt(attempt.run_id) == attempt

        # the student's numbers are those of the teacher's weights: gone, the teacher is trained again, and not the rest
        weights.unlink()
        assert set(states(study).values()) == {"done"}, "no student needs them any more"
        with sqlite3.connect("mlflow.db") as database:
            database.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'small+d seed 1'")
        expected = {"large 0": "to run", "small+d 1": "to run"}
        assert {trial: state for trial, state in states(study).items() if state != "done"} == expected
        before = (Path("results/taught/results.csv")).read_text()
        ablate("run", str(study), "--executor", "inline")
        after = list(csv.DictReader(Path("results/taught/results.csv").read_text().splitlines()))
        for old, new in zip(csv.DictReader(before.splitlines()), after, strict=True):
            assert {k: old[k] for k in ("trial", "top1", "val_loss")} == {
                k: new[k] for k in ("trial", "top1", "val_loss")
            }

    def test_without_its_teacher_a_student_fails_and_the_others_go_on(
        self, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from experiments import trial

        train = trial._train

        def fails(job: Any, *arguments: Any) -> Any:
            if job.cell == "large":
                raise UserError("no such luck")
            return train(job, *arguments)

        monkeypatch.setattr(trial, "_train", fails)
        said = ablate("run", str(study_file(text=STUDY)), "--executor", "inline", code=1).stdout
        assert "failed: small+d seed 1: what it needs is missing: trial " in said
        assert "failed: large seed 0: no such luck" in said
        assert list(states(study_file(text=STUDY)).values()).count("done") == 2

    def test_weights_are_not_kept_where_the_study_says_so_but_for_teachers(self, study_file: WriteStudy) -> None:
        study = study_file(text=STUDY + "keep_weights: false\n")
        ablate("run", str(study), "--executor", "inline", "--seeds", "1")
        kept = [path.parent.parent.name for path in Path("mlruns").rglob("weights.safetensors")]
        plan = expand(load_study(study))
        assert kept == [find_attempt(plan.ids["large", 0]).run_id]
        Image.new("RGB", (8, 8)).save("one.png")
        refused = ablate("predict", plan.ids["small", 0], ".", code=2).stderr
        assert "its weights were not kept" in refused


@pytest.mark.usefixtures("record")
class TestWarmStart:
    TEXT = STUDY.split("factors:")[0].replace("study: taught", "study: warm")

    def test_a_study_starts_from_the_weights_of_a_trial(self, study_file: WriteStudy) -> None:
        cold = study_file(text=self.TEXT)
        ablate("run", str(cold), "--executor", "inline")
        trial = expand(load_study(cold)).trials[0].id
        first = weights_of(find_attempt(trial))[0]
        warm = study_file(("tweak: A", f"tweak: A, weights_run: {trial}"), text=self.TEXT)
        ablate("run", str(warm), "--executor", "inline")
        plan = expand(load_study(warm))
        second = weights_of(find_attempt(plan.trials[0].id))[0]
        assert second.pretrained == first.weights
        assert second.history[0]["train_loss"] < first.history[0]["train_loss"]
        assert f"pretrained {trial}" in Path("results/warm/report.md").read_text()
        by_run = study_file(("tweak: A", f"tweak: A, weights_run: {find_attempt(trial).run_id}"), text=self.TEXT)
        assert expand(load_study(by_run)).trials[0].id == plan.trials[0].id, "the same weights are the same trial"

    def test_an_unknown_run_is_refused_when_the_plan_is_made(self, study_file: WriteStudy) -> None:
        study = study_file(("tweak: A", "tweak: A, weights_run: 0123456789ab"), text=self.TEXT)
        line = ablate("plan", str(study), code=2).stderr
        assert "study.yaml:6: recipe.architecture.weights_run: run 0123456789ab: the record at" in line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, empty_record: Path) -> tuple[Path, str]:
    """A folder with a network that tells black from white, on class folders whose order by name is not that by number."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_record, folder / "mlflow.db")
    generator = np.random.default_rng(0)
    for name, level in (("10", 30), ("2", 130), ("1", 230)):
        images = folder / "images" / name
        images.mkdir(parents=True)
        for i in range(24):
            noise = generator.integers(-20, 20, (20, 16, 3))
            Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).save(images / f"{i}.png")
    text = STUDY.split("factors:")[0]
    for old, new in (
        ("{kind: digits, image_size: 16}", "{kind: image_folder, path: images, image_size: 8, stored_size: 10}"),
        ("epochs: 1", "epochs: 16"),
        ("lr: 0.05", "lr: 0.005"),
        ("batch_size: 256", "batch_size: 8"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "study.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ABLATE_CACHE", str(shared_cache))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        ablate("run", "study.yaml", "--executor", "inline")
        return folder, expand(load_study(Path("study.yaml"))).trials[0].id


class TestPredict:
    @pytest.fixture
    def trial(self, trained: tuple[Path, str], tmp_path: Path) -> str:
        """Its trial, in a copy of the folder."""
        shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
        return trained[1]

    def test_classes_are_named_by_their_folders(self, trial: str, tmp_path: Path) -> None:
        unknown = tmp_path / "unknown"
        (unknown / "deep").mkdir(parents=True)
        for name, level in (("black.png", 30), ("deep/grey.jpg", 130), ("white, really.png", 230)):
            Image.new("RGB", (40, 30), (level,) * 3).save(unknown / name)
        said = ablate("predict", trial, "unknown", "--out", "out/found.csv").stdout
        rows = list(csv.DictReader(Path("out/found.csv").read_text().splitlines()))
        assert [(row["image"], row["class"]) for row in rows] == [
            ("black.png", "10"),
            ("deep/grey.jpg", "2"),
            ("white, really.png", "1"),
        ]
        assert all(0.4 < float(row["probability"]) <= 1 for row in rows)
        assert f"trial {trial}: taught, cell baseline, seed 0, epoch 16" in said
        assert "3 images, 3 classes" in said
        assert "top-1" not in said, "no folder tells a class"

    def test_of_images_in_folders_named_as_classes_it_says_how_many_are_right(self, trial: str) -> None:
        for name, level in (("10/1", 30), ("10/2", 230), ("10/3", 230), ("1/deep/1", 130), ("2/1", 130), ("new/1", 30)):
            file = Path(f"labelled/{name}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (level,) * 3).save(file)
        said = ablate("predict", trial, "labelled").stdout
        assert (
            "top-1 0.4000 over the 5 images in folders named as classes\nmost often wrong: 10 as 1 (2), 1 as 2 (1)"
            in said
        )
        shutil.rmtree("labelled/1")
        for name in ("2", "3"):
            Path(f"labelled/10/{name}.png").unlink()
        said = ablate("predict", trial, "labelled").stdout
        assert "top-1 1.0000 over the 2 images in folders named as classes\npredictions: " in said

    def test_the_predictions_are_the_accuracy_that_was_recorded(self, trial: str) -> None:
        ablate("predict", trial, "images")
        rows = list(csv.DictReader(Path("predictions.csv").read_text().splitlines()))
        hits = np.mean([row["image"].split("/")[0] == row["class"] for row in rows])
        record = weights_of(find_attempt(trial))[0]
        assert hits > 0.9
        # the validation images among them are right as often as the record says
        validated = ImageFolder(path=Path("images"), image_size=8).read(0)
        names = {str(validated.images[i].relative_to("images")) for i in validated.splits["val"]}
        right = [row["image"].split("/")[0] == row["class"] for row in rows if row["image"] in names]
        assert len(right) == 15
        assert np.mean(right) == pytest.approx(record.history[-1]["top1"])

    def test_of_several_runs_on_different_data_it_says_which(self, trial: str) -> None:
        Path("images/1/0.png").rename("images/1/renamed.png")
        ablate("run", "study.yaml", "--executor", "inline")
        runs = [attempt.run_id[:8] for attempt in finished_attempts(trial)]
        said = ablate("predict", trial, "images").stdout
        assert f"run {runs[0]}, the newest of 2 on different data; others: {runs[1]}" in said
        assert "newest" not in ablate("predict", runs[1], "images").stdout

    @pytest.mark.usefixtures("record")
    def test_a_plugin_goes_with_its_folder_and_must_be_what_it_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = tmp_path / "before"
        before.mkdir()
        monkeypatch.chdir(before)
        written(before, FEW)
        written(before, VANDAL)
        data = "{kind: few, train: [0, 1, 2, 0, 1, 2], val: [0, 1, 2], image_size: 16}"
        text = STUDY.replace("{kind: digits, image_size: 16}", data).split("factors:")[0]
        Path("study.yaml").write_text(f"plugins: [few.py, vandal.py]\n{text}")
        ablate("run", "study.yaml", "--executor", "inline")
        trial = expand(load_study(Path("study.yaml"))).trials[0].id
        Path("images").mkdir()
        Image.new("RGB", (20, 20)).save("images/1.png")
        monkeypatch.chdir(before.rename(tmp_path / "after"))
        Path("vandal.py").unlink()

        def predicted() -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "orchestrator.cli", "predict", trial, "images"]
            return subprocess.run(command, capture_output=True, text=True)

        assert "1 image, 3 classes" in predicted().stdout
        Path("few.py").write_text(f"{FEW}# edited\n")
        edited = predicted()
        assert "few.py is not what it was when this was trained" in edited.stderr
        assert edited.returncode == 2

    @pytest.mark.parametrize("out", ["x" * 300, "/proc/x.csv", "study.yaml/x.csv"])
    def test_what_can_not_be_written_is_said_first(self, out: str, trial: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("orchestrator.commands.predict.predict", lambda *_: pytest.fail("predicted first"))
        line = ablate("predict", trial, "images", "--out", out, code=2).stderr
        assert out.partition("/x")[0] in line
        assert line.count("\n") == 1

    def test_predictions_that_fail_leave_a_file_as_it_was(self, trial: str) -> None:
        Path("mine.csv").write_text("mine")
        Path("bad").mkdir()
        Path("bad/1.png").write_text("no image")
        for out in ("mine.csv", "new.csv"):
            line = ablate("predict", trial, "bad", "--out", out, code=2).stderr
            assert line == "ablate: bad/1.png: not an image that can be decoded (unknown format)\n"
        assert Path("mine.csv").read_text() == "mine"
        assert not Path("new.csv").exists()

    @pytest.mark.parametrize("broken", [1, 12])
    def test_images_that_can_not_be_decoded_are_left_out_and_named(self, trial: str, broken: int) -> None:
        ablate("predict", trial, "images", "--out", "before.csv")
        for number in range(broken):
            Path(f"images/1/bad_{number}.png").write_text("no image")
        said = ablate("predict", trial, "images", code=1).stdout
        assert Path("predictions.csv").read_text() == Path("before.csv").read_text()
        assert said.count("not an image that can be decoded") == min(broken, 10)
        assert f"{broken} image{'s' if broken > 1 else ''} left out" in said

    @pytest.mark.parametrize(
        ("run", "folder", "said"),
        [
            ("0123456789ab", "images", "run 0123456789ab: the record at"),
            (
                "best one",
                "images",
                "run 'best one': expected a trial id (12 hex digits; `ablate status STUDY --json` lists them) or",
            ),
            (None, "nowhere", "nowhere: no such folder"),
            (None, "results", "results: holds no images"),
            (None, "study.yaml", "study.yaml: is a file, expected a folder with images"),
        ],
    )
    def test_mistakes_are_one_line(self, run: str | None, folder: str, said: str, trial: str) -> None:
        for file in Path("results").rglob("*.png"):
            file.unlink()
        line = ablate("predict", run or trial, folder, code=2).stderr
        assert said in line
        assert line.count("\n") == 1
        assert not Path("predictions.csv").exists()
