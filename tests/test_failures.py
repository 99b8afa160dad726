"""Where memory runs out: what the line says, and that nothing of the failed training stays in the worker.

The GPU is made up: a training takes a gibibyte and a tenth of one for each image of its batch.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from batches import a_recipe
from torch import nn

from experiments import trial
from experiments.job import Job, Result
from experiments.training import resident
from experiments.trial import run_trial
from trainer.data import Data, Source, load
from trainer.errors import UserError
from trainer.failures import _NO_ENGINE, GIB, _bytes_taken, _Enough, _TwoSteps, explained, is_device_lost
from trainer.hooks import Hook
from trainer.loop import Outcome
from trainer.recorder import Epoch

DONE = Outcome([], 0.0, 1, {}, None)
DATA = Data(
    images=torch.zeros(3, 3, 2, 2, dtype=torch.uint8),
    labels=torch.zeros(3, dtype=torch.int64),
    splits={"train": np.arange(2), "val": np.arange(2, 3)},
    classes=("a", "b"),
    mean=torch.zeros(1, 3, 1, 1),
    std=torch.ones(1, 3, 1, 1),
    image_size=2,
)


@dataclass
class Gpu:
    total: float = 16.0
    others: float = 0.0
    fixed: float = 1.0
    most: float = 1.0
    """The most that was taken since this was reset."""

    tried: list[int] = field(default_factory=list)
    error: type[RuntimeError] = torch.OutOfMemoryError
    words: str = "CUDA out of memory. Tried to allocate 20.00 MiB."

    def take(self, batch_size: int) -> None:
        """All that a step with this batch takes, where there is room."""
        needed = self.fixed + 0.1 * batch_size
        if needed > self.total - self.others:
            raise self.error(self.words)
        self.most = max(self.most, needed)

    def attempt(self, batch_size: int, probe: Hook | None = None) -> Outcome:
        self.tried.append(batch_size)
        for step in range(3):
            self.take(batch_size)
            if step == 0:
                # cuDNN tries algorithms in all the memory that is free
                self.most = self.total - self.others
            if probe:
                probe.step_end(nn.Identity())
        return DONE


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    made_up = Gpu()
    free = lambda: made_up.total - made_up.others - 0.5  # noqa: E731
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free() * GIB), int(made_up.total * GIB)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: GIB // 2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: int(made_up.most * GIB))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: setattr(made_up, "most", made_up.fixed))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    return made_up


def line(gpu: Gpu, batch_size: int) -> str:
    with pytest.raises(UserError) as caught:
        explained(gpu.attempt, batch_size, DATA)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


class TestGpu:
    def test_what_fits_is_not_touched(self, gpu: Gpu) -> None:
        assert explained(gpu.attempt, 100, DATA) is DONE
        assert gpu.tried == [100]

    def test_the_batch_and_the_share_that_would_fit_are_named(self, gpu: Gpu) -> None:
        gpu.others = 6.0
        assert line(gpu, 100) == (
            "CUDA out of memory at batch_size 100, which takes about 11.0 GiB, a share of 0.69, while others hold 6.0 "
            "of the GPU's 16.0 GiB; expected at most 50, which fits, or micro_batches: 2, or at most 1 at once on such a "
            "GPU (--concurrency)"
        )
        assert gpu.tried == [100, 50, 25]

    def test_what_needs_more_than_the_gpu_has_is_told_so(self, gpu: Gpu) -> None:
        message = line(gpu, 512)
        assert "takes about 52.2 GiB, a share of 3.27, while others hold 0.0 of the GPU's 16.0 GiB" in message
        assert message.endswith("expected at most 128, which fits, or micro_batches: 4, or a larger GPU")

    def test_what_fits_several_times_may_be_run_so_often_at_once(self, gpu: Gpu) -> None:
        gpu.others = 14.0
        assert "a share of 0.27" in line(gpu, 32)
        assert line(gpu, 32).endswith("fits, or micro_batches: 4, or at most 3 at once on such a GPU (--concurrency)")

    def test_a_batch_that_is_cut_already_is_cut_further(self, gpu: Gpu) -> None:
        with pytest.raises(UserError, match="or micro_batches: 8, or a larger GPU"):
            explained(gpu.attempt, 512, DATA, 2)

    def test_where_nothing_fits(self, gpu: Gpu) -> None:
        gpu.others = 15.0
        assert line(gpu, 32) == (
            "CUDA out of memory at batch_size 32, and at 2 as well, while others hold 15.0 of the GPU's 16.0 GiB; "
            "expected fewer trials at once (--concurrency) or a larger GPU"
        )
        assert gpu.tried == [32, 16, 8, 4, 2]

    @pytest.mark.parametrize(("batch_size", "fits"), [(4, 2), (6, 3)])
    def test_two_or_three_images_have_no_half_to_measure(self, batch_size: int, fits: int, gpu: Gpu) -> None:
        gpu.others = 14.65
        assert line(gpu, batch_size).endswith(
            f"expected at most {fits}, which fits, or micro_batches: 2, or fewer trials at once (--concurrency)"
        )

    def test_a_batch_of_one(self, gpu: Gpu) -> None:
        gpu.others = 15.0
        assert "expected fewer trials at once" in line(gpu, 1)
        assert gpu.tried == [1]

    @pytest.mark.parametrize(
        "words",
        [
            "CUDA error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        ],
    )
    def test_libraries_have_errors_of_their_own(self, words: str, gpu: Gpu) -> None:
        gpu.error, gpu.words, gpu.others = RuntimeError, words, 6.0
        assert "CUDA out of memory at batch_size 100" in line(gpu, 100)

    def test_without_memory_cudnn_may_only_say_that_it_has_no_engine(self, gpu: Gpu) -> None:
        gpu.error, gpu.words = RuntimeError, f"FIND was {_NO_ENGINE} after trying 4 plans."
        gpu.others = 6.0
        assert "CUDA out of memory at batch_size 100, which takes about 11.0 GiB" in line(gpu, 100)

    def test_where_no_batch_gives_it_an_engine_memory_is_not_blamed(self, gpu: Gpu) -> None:
        gpu.error, gpu.words = RuntimeError, f"GET was {_NO_ENGINE}"
        gpu.others = 16.0
        with pytest.raises(RuntimeError, match=f"cuDNN was {_NO_ENGINE}, at batch_size 32") as caught:
            explained(gpu.attempt, 32, DATA)
        assert gpu.tried == [32, 16, 8, 4, 2]
        assert "in take" in caught.value.__notes__[0]

    def test_the_note_is_what_torch_said_and_where(self, gpu: Gpu) -> None:
        with pytest.raises(UserError) as caught:
            explained(gpu.attempt, 512, DATA)
        (note,) = caught.value.__notes__
        assert "Tried to allocate 20.00 MiB" in note
        assert "in take" in note
        assert caught.value.__context__ is None

    def test_memory_is_what_is_taken_once_algorithms_are_chosen(self, gpu: Gpu) -> None:
        assert _bytes_taken(gpu.attempt, 40, torch.device("cuda")) == 5 * GIB

    def test_two_steps_are_tried(self) -> None:
        steps = _TwoSteps()
        steps.step_end(nn.Identity())
        with pytest.raises(_Enough):
            steps.step_end(nn.Identity())

    def test_what_the_training_held_is_gone_before_another_is_tried(self, gpu: Gpu) -> None:
        held: list[weakref.ref[torch.Tensor]] = []
        emptied: list[bool] = []

        def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
            assert all(tensor() is None for tensor in held)
            weights = torch.zeros(10)
            cycle = [weights]
            cycle.append(cycle)  # type: ignore[arg-type]
            held.append(weakref.ref(weights))
            torch.cuda.empty_cache = lambda: None
            try:
                return gpu.attempt(batch_size, probe)
            finally:
                torch.cuda.empty_cache = between

        original, between = torch.cuda.empty_cache, lambda: emptied.append(all(tensor() is None for tensor in held))
        torch.cuda.empty_cache = between
        try:
            with pytest.raises(UserError):
                explained(attempt, 512, DATA)
        finally:
            torch.cuda.empty_cache = original
        assert len(held) == 4
        assert emptied
        assert all(emptied)
        assert all(tensor() is None for tensor in held)


def test_images_that_do_not_fit_beside_others_ask_for_more_of_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("trainer.data.load", full)
    resident._resident.clear()
    recipe = a_recipe({}) | {"numerics": {"precision": "fp32"}}
    result = run_trial(Job("full", "baseline", 1, recipe, str(tmp_path / "full"), str(tmp_path)), Notes())
    assert result.reason.startswith("CUDA out of memory while the images were brought to the GPU")
    assert result.short_of_memory


class TestHost:
    def test_torch_without_memory(self) -> None:
        def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
            torch.empty(2**60, dtype=torch.uint8)
            return DONE

        with pytest.raises(UserError, match="the host is out of memory at batch_size 64; expected a smaller one"):
            explained(attempt, 64, DATA)

    def test_cudnn_without_memory(self) -> None:
        def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED")

        with pytest.raises(UserError, match="the host is out of memory at batch_size 64"):
            explained(attempt, 64, DATA)

    def test_numpy_without_memory(self) -> None:
        def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
            np.empty(2**60, dtype=np.uint8)
            return DONE

        with pytest.raises(UserError, match="the host is out of memory at batch_size 64"):
            explained(attempt, 64, DATA)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes"), ValueError("no"), KeyError("x"), UserError("y")]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
        raise error

    with pytest.raises(type(error)) as caught:
        explained(attempt, 64, DATA)
    assert caught.value is error


HUNGRY = '''
"""Runs out of memory."""
from typing import Literal
import torch
from experiments.options import Refinement
from trainer.hooks import Hook

seen = []


class Hungry(Refinement):
    """Fails as CUDA does with more than 20 images."""

    kind: Literal["hungry"] = "hungry"

    def build(self, setup):
        return HungryHook()


class HungryHook(Hook):
    def mix(self, batch, draws):
        seen.append(len(batch.samples))
        if len(batch.samples) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return batch
'''


class Notes:
    def __init__(self) -> None:
        self.epochs: list[int] = []

    def epoch(self, number: int, metrics: Epoch) -> None:
        self.epochs.append(number)


def test_in_a_worker_the_trial_fails_with_the_line_and_the_next_one_trains(tmp_path: Path, gpu: Gpu) -> None:
    (tmp_path / "hungry.py").write_text(HUNGRY)

    def attempt(name: str, refinements: dict[str, dict[str, object]]) -> tuple[Result, Notes]:
        recipe = a_recipe(refinements) | {"batch_size": 64, "epochs": 1, "numerics": {"precision": "fp32"}}
        notes = Notes()
        job = Job(name, "baseline", 1, recipe, str(tmp_path / name), str(tmp_path), (str(tmp_path / "hungry.py"),))
        return run_trial(job, notes), notes

    failed, notes = attempt("failed", {"hungry": {}, "ema": {}})
    assert failed.status == "failed"
    assert failed.reason.startswith("CUDA out of memory at batch_size 64, which takes about ")
    assert "expected at most 16, which fits" in failed.reason
    assert failed.history == []
    assert notes.epochs == [], "smaller batches are tried in silence"
    assert sorted(path.name for path in Path(failed.log).parent.iterdir()) == ["journal.jsonl", "lock", "log.txt"]
    assert "Tried to allocate 2.00 GiB" in Path(failed.log).read_text()

    after, _ = attempt("after", {"ema": {}})
    alone, _ = attempt("alone", {"ema": {}})
    assert after.status == "finished"
    assert after.weights == alone.weights


TALKS = '''
import sys
from typing import Literal
from experiments.options import Refinement
from trainer.hooks import Hook

print("imported")


class Talks(Refinement):
    """Prints, and ends in the middle of a line."""

    kind: Literal["talks"] = "talks"

    def build(self, setup):
        print("built")
        sys.stdout.write("no end")
        return Hook()
'''


@pytest.mark.parametrize("prints", [False, True])
def test_what_a_plugin_prints_is_logged_where_nobody_reads(
    prints: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / f"talks{prints}.py"
    plugin.write_text(TALKS)
    recipe = a_recipe({"talks": {}}) | {"batch_size": 64, "epochs": 1, "numerics": {"precision": "fp32"}}
    job = Job("talks", "baseline", 1, recipe, str(tmp_path / "talks"), str(tmp_path), (str(plugin),))
    assert run_trial(job, Notes(), prints=prints).status == "finished"
    logged, printed = (tmp_path / "talks" / "log.txt").read_text(), capsys.readouterr()
    here, elsewhere = (printed.out, logged) if prints else (logged, printed.out + printed.err)
    for said in ("built", "no end"):
        assert said in here
        assert said not in elsewhere
    print("after")
    assert "after" in capsys.readouterr().out


LOUD = """
import faulthandler, io, logging, subprocess, sys, threading
from typing import Literal
from experiments.options import Refinement
from trainer.hooks import Hook

LOG = logging.getLogger("loud")
LOG.addHandler(logging.StreamHandler())


class Loud(Refinement):
    kind: Literal["loud"] = "loud"

    def build(self, setup):
        {does}
        return Hook()
"""
HABITS = {
    "bytes": ("sys.stdout.buffer.write(b'raw\\xff\\n')", r"raw\xff"),
    "encoding": ("print(sys.stdout.encoding.lower())", "utf-8"),
    "reconfigure": ("sys.stderr.reconfigure(write_through=True); print('now')", "now"),
    "wrapped": ("sys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'utf-8'); print('in', flush=True)", "in"),
    "detached": ("sys.stdout = io.TextIOWrapper(sys.stdout.detach()); print('off', flush=True)", "off"),
    "closed": ("sys.stdout.close(); print('still', file=sys.stderr)", "still"),
    "faults": ("faulthandler.dump_traceback()", "epoch 1"),
    "process": ("subprocess.run(['true'], stdout=sys.stdout, stderr=sys.stderr, check=True)", "epoch 1"),
    "handler": ("LOG.warning('careful')", "careful"),
    "progress": ("[sys.stderr.write(f'\\r{done} done') for done in range(3)]", "2 done"),
    "failed": ("print('half', end=''); raise ValueError('so')", "half"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_what_is_printed_in_whatever_way_is_in_the_log_of_each_trial(habit: str, tmp_path: Path) -> None:
    """The plugin is imported once, in the first of two trials."""
    plugin = tmp_path / "loud.py"
    does, said = HABITS[habit]
    plugin.write_text(LOUD.format(does=does))
    recipe = a_recipe({"loud": {}}) | {"batch_size": 64, "epochs": 1, "numerics": {"precision": "fp32"}}
    for name in ("first", "second"):
        folder = tmp_path / name
        job = Job(name, "baseline", 1, recipe, str(folder), str(tmp_path), (str(plugin),))
        result = run_trial(job, Notes())
        assert result.status == ("failed" if habit == "failed" else "finished"), result.reason
        lines = (folder / "log.txt").read_text().splitlines()
        assert any(line.split(" ", 2)[-1].startswith(said) for line in lines), lines


def test_nothing_of_a_diverged_training_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error, whose frames hold network and data, is collected before memory goes back to the system."""
    networks: list[weakref.ref[nn.Module]] = []
    left: list[bool] = []
    built = timm.create_model

    def build(*arguments: object, **settings: object) -> nn.Module:
        model: nn.Module = built(*arguments, **settings)
        networks.append(weakref.ref(model))
        return model

    monkeypatch.setattr(timm, "create_model", build)
    monkeypatch.setattr(trial, "give_back", lambda: left.extend(network() is not None for network in networks))
    recipe = a_recipe({}) | {"epochs": 2, "numerics": {"precision": "fp32"}}
    recipe |= {"architecture": {"kind": "timm", "name": "resnet10t"}, "optimizer": {"kind": "sgd", "lr": 1e30}}
    gc.disable()
    try:
        result = run_trial(Job("wild", "baseline", 1, recipe, str(tmp_path / "wild"), str(tmp_path)), Notes())
    finally:
        gc.enable()
    assert result.reason.startswith("Diverged")
    assert networks
    assert not any(left[-len(networks) :])


def test_a_label_beyond_the_classes_is_a_line(tmp_path: Path) -> None:
    """On a GPU it would be an assertion of the device, which is of no use to its process any more."""
    source = Source(np.zeros((3, 4, 4, 3), np.uint8), np.array([0, 2, 1]), ("a", "b"), {"train": np.arange(3)})
    grey = (0.5, 0.5, 0.5)
    with pytest.raises(UserError, match="the data set has a label 2, expected 0 to 1: it names 2 classes"):
        load(source, 4, grey, grey, tmp_path, torch.device("cpu"))


def test_a_lost_device_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    assert not is_device_lost()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert not is_device_lost()
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert is_device_lost()
