"""Further networks of a plugin's refinement: tables, claims, figures, the search and the record know their metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from experiments import catalog
from experiments.questions.named import meant_metric
from orchestrator.cli import main
from trainer.metrics import direction, epoch_metrics, final_metrics, is_final, measured, metric_names, network_of

WriteStudy = Callable[..., Path]

SWA = '''
from typing import Literal
from torch.optim.swa_utils import AveragedModel, update_bn
from experiments.options import Refinement
from trainer.hooks import Hook


class Swa(Refinement):
    """The plain mean of the weights after each epoch."""

    kind: Literal["swa"] = "swa"
    networks = ("swa",)

    def build(self, setup):
        return Mean()


class Mean(Hook):
    def start(self, model):
        self.mean = AveragedModel(model, use_buffers=True)
        self.model = model

    def epoch_end(self, epoch):
        self.mean.update_parameters(self.model)

    def networks(self):
        return {"swa": self.mean}
'''
ASKING = (
    ("\nstudy: tiny", "\nplugins: [swa.py]\nstudy: tiny"),
    ("{loss.label_smoothing: 0.1}", "{refinements.swa: {}}"),
    ("metrics: [top1, top5]", "metrics: [top1, best_swa_top1], unit: percent"),
    ("{id: stems, caption: Stems, rows: stem,", "{id: stems, caption: Stems, rows: [plain, plain+l],"),
    ("published: {plain: {top1: 0.5}}", "published: {plain: {top1: 50}}"),
    ("{says: Cosine pays, test: plain+c.top1 > plain.top1}", "{says: It pays, test: plain+l.swa_top1 > plain.top1}"),
)
FIGURES = """
figures:
  - {id: curves, kind: curves, caption: Curves, panels: [[top1, swa_top1], [val_loss, swa_val_loss]], cells: [plain+l]}
"""
WITHOUT = ("l: {refinements.swa: {}}", "l: {loss.label_smoothing: 0.1}")
PLAIN = (("best_swa_top1", "top5"), ("plain+l.swa_top1", "plain+l.top1"))
SEARCH = """
search:
  sample:
    optimizer.lr: {loguniform: [0.01, 0.1]}
    averaged: {path: refinements, choice: [{}, {swa: {}}]}
  objective: swa_top1
  pruning: none
  budget: {trials: 3}
  confirm: 2
"""


VALIDATION = ("top1", "top5", "val_loss", "class_top1", "macro_f1", "ece")


def ablate(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture
def study(study_file: WriteStudy, tmp_path: Path) -> Callable[..., str]:
    """Write the tiny study with the plugin; `more` is added to its end."""

    def write(*replaced: tuple[str, str], more: str = "") -> str:
        (tmp_path / "swa.py").write_text(SWA)
        file = study_file(*ASKING, *replaced)
        file.write_text(file.read_text() + more)
        return str(file)

    return write


def test_a_name_tells_the_network_and_the_measure() -> None:
    names = metric_names(["ema", "swa2"])
    assert len(set(names)) == len(names)
    for network in ("ema", "swa2"):
        for which, measure in (("", "top1"), ("best_", "top5"), ("selected_", "val_loss"), ("", "test_ece")):
            name = f"{which}{network}_{measure}"
            assert name in names
            assert (network_of(name), measured(name)) == (network, measure)
            assert direction(name) == ("min" if measure in ("val_loss", "test_ece") else "max")
    for name in metric_names():
        assert network_of(name) == "", name
    assert [name for name in names if is_final(name)] == final_metrics(["ema", "swa2"])
    assert set(epoch_metrics(["ema"])) - set(epoch_metrics()) == {f"ema_{name}" for name in VALIDATION}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("F1", "macro_f1"), ("class_f1", "macro_f1"), ("best_f1", "best_macro_f1"), ("ema_test_f1", "ema_test_macro_f1"),
        ("ECE", "ece"), ("val_ece", "ece"), ("test_calibration", "test_ece"),
        ("test_acc", "test_top1"), ("best_accuracy", "best_top1"), ("val_acc", "top1"), ("test_error", "test_top1"),
        ("test_balanced", "test_class_top1"), ("tpo1", "top1"), ("ema_tpo1", "ema_top1"), ("Test_Top1", "test_top1"),
        ("nll", "val_loss"), ("test_nll", "test_loss"), ("train_loss_", "train_loss"), ("train_ece", "ece"),
        ("auc", None), ("test_auc", None), ("speed", None),
    ],
)  # fmt: skip
def test_what_others_call_a_metric_is_known_with_what_stands_before_it(typed: str, meant: str | None) -> None:
    said = meant_metric(typed)
    assert said == f"; did you mean {meant!r}?" if meant else said.startswith(", expected one of top1, top5")


def test_what_comes_with_it_states_the_networks_that_it_gives() -> None:
    assert catalog.networks() == {"ema": ["ema"]}


@pytest.mark.slow
def test_the_report_has_them_as_it_has_those_of_ema(study: Callable[..., str], record: Path, tmp_path: Path) -> None:
    file = study(more=FIGURES)
    ran = ablate("run", file, "--executor", "inline")
    assert ran.exit_code == 0, ran.output
    results = tmp_path / "results" / "tiny"
    rows = pd.read_csv(results / "results.csv").set_index("cell")
    best = rows["best_swa_top1"]["plain+l"]
    assert 0 < best <= 1
    assert rows["swa_val_loss"]["plain+l"] > 0
    assert rows["swa_top1"].isna()["plain"]
    report = (results / "report.md").read_text()
    table = report.partition("Best SWA top-1")[2]
    assert f"{100 * best:.1f}" in table.partition("| plain+l ")[2].partition("\n")[0]
    (claim,) = json.loads((results / "report.json").read_text())["claims"]
    difference = rows["swa_top1"]["plain+l"] - rows["top1"]["plain"]
    assert claim["findings"][0]["difference"]["mean"] == pytest.approx(difference)
    assert "validation, SWA" in (results / "figures" / "curves.svg").read_text()


@pytest.mark.slow
def test_a_search_may_aim_at_them(study: Callable[..., str], record: Path, tmp_path: Path) -> None:
    file = study(WITHOUT, *PLAIN, more=SEARCH)
    ran = ablate("search", file, "--executor", "inline", "--emit", "tuned.yaml")
    assert ran.exit_code == 0, ran.output
    rows = pd.read_csv(tmp_path / "results" / "tiny-search" / "configurations.csv")
    has = rows["averaged"].str.contains("swa")
    assert has.any()
    assert list(rows["swa_top1"].notna()) == list(has)
    assert list(rows["state"]) == ["complete" if it else "failed" for it in has]
    assert ablate("plan", "tuned.yaml").exit_code == 0
    (table,) = yaml.safe_load((tmp_path / "tuned.yaml").read_text())["tables"]
    # what takes the refinement back has the trained network's metric only
    assert table["metrics"] == ["swa_top1", "top1"]


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        (("best_swa_top1", "best_swe_top1"), "unknown metric 'best_swe_top1'; did you mean 'best_swa_top1'?"),
        (("plain+l.swa_top1", "plain+l.swa_top5"), "compares swa_top5 with top1; expected one metric"),
        (("test: plain+l.swa_top1 >", "test: swa_top1.plain+l >"), "expected the metric last: plain+l.swa_top1"),
    ],
)
def test_a_wrong_name_is_refused(study: Callable[..., str], replaced: tuple[str, str], said: str) -> None:
    planned = ablate("plan", study(replaced))
    assert planned.exit_code == 2
    assert said in planned.output


def test_what_no_trial_has_is_said_before_anything_is_trained(study: Callable[..., str]) -> None:
    planned = ablate("plan", study(WITHOUT))
    assert "no trial reports best_swa_top1, swa_top1: no recipe has refinements.swa" in planned.output
    file = study(WITHOUT, *PLAIN, more=SEARCH.replace("choice: [{}, {swa: {}}]", "choice: [{}, {flip: {}}]"))
    searched = ablate("search", file)
    assert searched.exit_code == 2
    assert "no trial reports 'swa_top1': neither the recipe nor the space has refinements.swa" in searched.output


@pytest.mark.filterwarnings("ignore:Field name")
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('networks = "swa"', "swa.py: Swa.networks is 'swa', expected a tuple of names such as ('ema',)"),
        ('networks = ("best",)', "Swa.networks has 'best', expected letters and digits, but none of best, selected"),
        ('networks = ("mean_1",)', "Swa.networks has 'mean_1', expected letters and digits"),
        ("networks: tuple[str, ...] = ()", "Swa.networks is one of its settings, expected `networks: ClassVar["),
    ],
)
def test_networks_that_are_stated_wrongly(study: Callable[..., str], tmp_path: Path, written: str, said: str) -> None:
    file = study()
    (tmp_path / "swa.py").write_text(SWA.replace('networks = ("swa",)', written))
    planned = ablate("plan", file)
    assert planned.exit_code == 2
    assert said in planned.output
