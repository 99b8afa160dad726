"""Every test runs in a folder of its own, away from the user's record and caches."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

# read by MLflow and Ray when they are imported
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
# read by what multiplies matrices: threads that wait for each other by spinning keep other tests from their core
os.environ["OMP_NUM_THREADS"] = "1"
# set in many containers: each of the hundreds of processes that tests start would compile the project's files again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from near import store_near

from trainer.garbage import collect_seldom

sys.dont_write_bytecode = False

# a shell ignores it for what runs in its background, and so would every command that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def _what_is_loaded_stays() -> Iterator[None]:
    """Some tests look for garbage again and again, which would take a second each among all that is loaded."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests: measured costs and decoded images are the same for each of them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for remembered in ("paces", "probes", "starts"):
        # what the machine was seen to take in other tests would change orders and estimates
        shutil.rmtree(shared_cache / remembered, ignore_errors=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_CACHE", str(shared_cache))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(autouse=True)
def _no_plugin_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import catalog

    catalog.options("datasets")
    monkeypatch.setattr(catalog, "_found", {point: dict(found) for point, found in catalog._found.items()})
    monkeypatch.setattr(catalog, "_plugins", {})


@pytest.fixture(autouse=True)
def _store_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that a test runs in its own process write the record there: MLflow is loaded already.

    A command that is a process of its own has another that writes, as outside of tests.
    """
    monkeypatch.setattr("orchestrator.run.store_apart", store_near)


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that a test runs in its own process draw nothing, which takes longer than most of them; but see `drawn`."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("reports.search.report.search_figures", lambda report: [])


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready-made MLflow database; a fresh one costs seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("record") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def record(empty_record: Path, tmp_path: Path) -> Path:
    """An empty record in the test's folder."""
    return Path(shutil.copy(empty_record, tmp_path / "mlflow.db"))


@pytest.fixture(scope="session")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, empty_record: Path
) -> Callable[[Path], Path]:
    """The folder where a study was run from beginning to end in one process: trained once, whatever asks for it.

    What decides the results is the study's text and that of the plugins beside it.
    """
    ours = tmp_path_factory.getbasetemp()
    # the processes of pytest-xdist have their folders in one that is this session's
    place = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "uninterrupted"
    place.mkdir(exist_ok=True)

    def run(study: Path) -> Path:
        texts = [study.read_bytes(), *(file.read_bytes() for file in sorted(study.parent.glob("*.py")))]
        folder = place / hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                begun = tmp_path_factory.mktemp("whole")
                shutil.copy(empty_record, begun / "mlflow.db")
                for file in (study, *study.parent.glob("*.py")):
                    shutil.copy(file, begun)
                command = [sys.executable, "-m", "orchestrator.cli", "run", study.name, "--executor", "inline"]
                environment = {**os.environ, "ABLATE_CACHE": str(shared_cache)}
                environment.pop("MLFLOW_TRACKING_URI", None)
                subprocess.run(command, cwd=begun, env=environment, check=True, capture_output=True)
                begun.rename(folder)
        return folder

    return run


TINY = """
study: tiny
question: Does the test pass?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}
  numerics: {precision: fp32}
  epochs: 2
  batch_size: 256
factors:
  stem: {plain: {}, deep: {architecture.tweak: D}}
  c: {schedule: {kind: cosine}}
  l: {loss.label_smoothing: 0.1}
designs:
  - grid: {stem: all}
  - add_one: [c, l]
tables:
  - {id: stems, caption: Stems, rows: stem, metrics: [top1, top5], published: {plain: {top1: 0.5}}}
claims:
  - {says: Cosine pays, test: plain+c.top1 > plain.top1}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a study: the tiny one with some text replaced, or another text."""

    def write(*replaced: tuple[str, str], text: str = TINY) -> Path:
        for old, new in replaced:
            assert old in text, f"{old!r} is not in the study"
            text = text.replace(old, new)
        file = tmp_path / "study.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: collecting garbage need not look at it again, a second each time."""
    collect_seldom()
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Some libraries report what is left of them at the very end."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with most slow tests first: begun last, one of them would keep one process busy while the others wait."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
