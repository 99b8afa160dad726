"""A trial's numbers are its recipe's and seed's alone: not those of the worker, nor of the trials before it in there."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from plugins import FEW, VANDAL, attempt, of_few, written
from torch.nn.modules import module
from torch.optim import optimizer

from experiments.job import Job, Result
from trainer.leftovers import global_hooks_end
from trainer.numerics import Numerics
from trainer.recorder import Epoch

FP32 = Numerics(precision="fp32")


def smallest() -> Any:
    """A number that is flushed to zero where denormals are."""
    return (torch.tensor(1e-40) * torch.tensor(1.0)).item()


SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "denormals": (lambda: torch.set_flush_denormal(True), smallest),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")),
    "autocast on CUDA": (lambda: torch.set_autocast_enabled("cuda", True), lambda: torch.is_autocast_enabled("cuda")),
    "autocast's cache": (lambda: torch.set_autocast_cache_enabled(False), torch.is_autocast_cache_enabled),
    "precision of products": (
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: (torch.get_float32_matmul_precision(), torch.backends.mkldnn.matmul.fp32_precision),
    ),
    "precision of convolutions": (
        lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
        lambda: torch.backends.mkldnn.conv.fp32_precision,
    ),
    "precision of all": (
        lambda: setattr(torch.backends, "fp32_precision", "ieee"),
        lambda: (torch.backends.mkldnn.conv.fp32_precision, torch.backends.cudnn.conv.fp32_precision),
    ),
    "TF32 of products": (
        lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", False),
        lambda: torch.backends.cuda.matmul.allow_tf32,
    ),
    "TF32 of convolutions": (
        lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
        lambda: torch.backends.cudnn.allow_tf32,
    ),
    "oneDNN": (lambda: setattr(torch.backends.mkldnn, "enabled", False), lambda: torch.backends.mkldnn.enabled),
    **{
        f"cuDNN {name}": (
            lambda name=name, value=value: setattr(torch.backends.cudnn, name, value),  # type: ignore[misc]
            lambda name=name: getattr(torch.backends.cudnn, name),  # type: ignore[misc]
        )
        for name, value in (("enabled", False), ("deterministic", True), ("benchmark", False), ("benchmark_limit", 1))
    },
    "sums in half precision": (
        lambda: setattr(torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", False),
        lambda: torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
    ),
    "products in half precision": (
        lambda: setattr(torch.backends.cuda.matmul, "allow_fp16_accumulation", True),
        lambda: torch.backends.cuda.matmul.allow_fp16_accumulation,
    ),
    "attention in half precision": (
        lambda: torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True),
        torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed,
    ),
    "autocast's type": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
        lambda: torch.get_autocast_dtype("cpu"),
    ),
    "autocast's type on CUDA": (
        lambda: torch.set_autocast_dtype("cuda", torch.bfloat16),
        lambda: torch.get_autocast_dtype("cuda"),
    ),
    "transformers": (lambda: torch.backends.mha.set_fastpath_enabled(False), torch.backends.mha.get_fastpath_enabled),
    "NNPACK": (lambda: torch.backends.nnpack.set_flags(False), torch._C._get_nnpack_enabled),
    "NumPy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "attention": (lambda: torch.backends.cuda.enable_flash_sdp(False), torch.backends.cuda.flash_sdp_enabled),
    "determinism": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
    ),
    "threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
}
"""Of torch and NumPy, what a trial may change and how it is seen."""


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_is_as_in_a_fresh_process(switch: str) -> None:
    change, seen = SWITCHES[switch]
    FP32.apply()
    before = seen()
    try:
        change()
        changed = seen()
    finally:
        FP32.apply()
    assert changed != before
    assert seen() == before


def test_what_a_fresh_process_has_is_what_is_set() -> None:
    """So that the first trial of a worker is no exception."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_exactness import SWITCHES, FP32
settings = ("threads", "TF32 of products", "cuDNN benchmark", "precision of products")
before = {{name: seen() for name, (_, seen) in SWITCHES.items() if name not in settings}}
FP32.apply()
print({{name: (value, SWITCHES[name][1]()) for name, value in before.items() if SWITCHES[name][1]() != value}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "{}\n"


class TestHooks:
    @pytest.fixture(autouse=True)
    def _none_stays(self) -> Iterator[None]:
        with global_hooks_end():
            yield

    def test_those_registered_inside_go_and_those_before_stay(self) -> None:
        calls: list[str] = []
        module.register_module_forward_hook(lambda *_: calls.append("before"))
        with global_hooks_end():
            module.register_module_forward_hook(lambda *_: calls.append("inside"), always_call=True)
            module.register_module_forward_pre_hook(lambda *_: calls.append("pre"))
            module.register_module_backward_hook(lambda *_: None)
            torch.nn.Identity()(torch.zeros(1))
            assert calls == ["pre", "before", "inside"]
        torch.nn.Identity()(torch.zeros(1))
        assert calls[3:] == ["before"]
        module.register_module_full_backward_hook(lambda *_: None)

    def test_those_of_all_optimizers_go_as_well(self) -> None:
        calls: list[str] = []

        def step() -> None:
            weight = torch.zeros(1, requires_grad=True)
            weight.grad = torch.ones(1)
            torch.optim.SGD([weight], lr=0.1).step()

        with global_hooks_end():
            optimizer.register_optimizer_step_pre_hook(lambda *_: calls.append("before"))
            optimizer.register_optimizer_step_post_hook(lambda *_: calls.append("after"))
            step()
        step()
        assert calls == ["before", "after"]

    def test_an_error_ends_them_as_well(self) -> None:
        with suppress(KeyboardInterrupt), global_hooks_end():
            module.register_module_forward_hook(lambda *_: None)
            raise KeyboardInterrupt
        assert not module._global_forward_hooks


PLAIN = of_few(
    [0, 1, 2] * 5,
    refinements={"random_crop": {}, "cutmix": {}, "ema": {"decay": 0.9}},
    loss={"kind": "cross_entropy", "class_weights": "balanced", "label_smoothing": 0.1},
    batch_size=4,
    epochs=2,
)
OTHER_SETTINGS = {"precision": "bf16", "channels_last": False, "tf32": False, "deterministic": True}
NASTY: dict[str, dict[str, Any]] = {
    "other settings": PLAIN | {"numerics": OTHER_SETTINGS, "epochs": 1},
    "vandal": PLAIN | {"refinements": {"vandal": {}}, "epochs": 1},
    "vandal that fails": PLAIN | {"refinements": {"mixup": {}, "vandal": {"fails": True}}},
    "diverged": PLAIN | {"optimizer": {"kind": "sgd", "lr": 1e30}, "refinements": {}},
    "other images": of_few([0, 1, 2] * 3, image_size=24, refinements={"vandal": {}}, epochs=1),
}
ENDS = {"vandal that fails": "failed", "diverged": "failed"}
TIMES = ("epoch_seconds", "images_per_second")


def numbers(result: Result) -> dict[str, Any]:
    """What must be the same again, bit for bit: all but the clock."""
    history = [{name: value for name, value in epoch.items() if name not in TIMES} for epoch in result.history]
    return {"history": history, "weights": result.weights, "selected": result.selected, "reason": result.reason}


class Stops:
    """Interrupts after an epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def epoch(self, number: int, metrics: Epoch) -> None:
        if number == self.after:
            raise KeyboardInterrupt


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8"))
    state = random.getstate(), np.random.get_state()
    yield [written(tmp_path, FEW), written(tmp_path, VANDAL)]
    random.setstate(state[0])
    np.random.set_state(state[1])
    FP32.apply()


@pytest.fixture
def trial(plugins: list[Path], tmp_path: Path) -> Callable[..., Result]:
    """Run a recipe in a folder of its own, or in one that it was interrupted in."""
    count = 0

    def run(recipe: dict[str, Any], folder: str = "", recorder: Stops | None = None) -> Result:
        nonlocal count
        count += 1
        os.chdir(tmp_path)
        return attempt(recipe, plugins, folder or f"trial {count}", recorder)

    return run


def vandalise(trial: Callable[..., Result], name: str) -> None:
    result = trial(NASTY[name])
    assert result.status == ENDS.get(name, "finished"), f"{name}: {result.reason}"


def test_the_error_of_a_plugin_names_its_line(trial: Callable[..., Result]) -> None:
    assert re.search(r"^\w+Error: .* \(vandal\.py:\d+\)$", trial(NASTY["vandal that fails"]).reason)


LEAKS = '''
"""A hook that leaves one thing behind as the epoch ends."""
import logging
from typing import Literal
import timm.layers
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from experiments.options import Refinement
from trainer.hooks import Hook

kept = []


class Louder(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), given=None):
        found = function(*args, **(given or {}))
        return found * 1.01 if function is functional.relu else found


class Dispatched(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), given=None):
        found = function(*args, **(given or {}))
        return found * 1.01 if "mm" in str(function) else found


def enter(mode):
    mode.__enter__()
    kept.append(mode)


def patch(holder, name, change):
    setattr(holder, name, change(getattr(holder, name)))


LEFT = {
    "inference mode": lambda: enter(torch.inference_mode()),
    "a device": lambda: enter(torch.device("meta")),
    "a default device": lambda: torch.set_default_device("meta"),
    "a function mode": lambda: enter(Louder()),
    "a dispatch mode": lambda: enter(Dispatched()),
    "saved tensors": lambda: enter(torch.autograd.graph.saved_tensors_hooks(lambda x: x * 1.01, lambda x: x)),
    "a flag of timm": lambda: (timm.layers.set_fast_norm(True), timm.layers.set_fused_attn(False)),
    "another relu": lambda: patch(functional, "relu", lambda relu: lambda x, inplace=False: relu(x) * 1.01),
    "another convolution": lambda: patch(torch, "conv2d", lambda conv: lambda *given: conv(*given) * 1.01),
    "another gain": lambda: patch(nn.init, "calculate_gain", lambda gain: lambda *given: 1.01 * gain(*given)),
    "no training mode": lambda: patch(nn.Module, "train", lambda train: lambda self, mode=True: train(self, False)),
    "no log": lambda: logging.disable(logging.CRITICAL),
}


class Leaks(Refinement):
    """Leaves something behind."""

    kind: Literal["leaks"] = "leaks"
    what: str

    def build(self, setup):
        return LeaksHook(self.what)


class LeaksHook(Hook):
    def __init__(self, what):
        self.what = what

    def epoch_end(self, epoch):
        LEFT[self.what]()
'''


@pytest.mark.parametrize("what", re.findall(r'^    "(.+)": lambda', LEAKS, re.M))
def test_what_a_hook_leaves_behind_ends_with_its_trial(
    what: str, trial: Callable[..., Result], plugins: list[Path], tmp_path: Path
) -> None:
    plugins.append(tmp_path / "leaks.py")
    plugins[-1].write_text(LEAKS)
    vit = {"kind": "timm", "name": "test_vit", "arguments": {"img_size": 16}}
    networks = [PLAIN, PLAIN | {"architecture": vit, "refinements": {}}] if "timm" in what else [PLAIN]
    before = [numbers(trial(recipe)) for recipe in networks]
    assert all(found["weights"] for found in before), before
    trial(PLAIN | {"refinements": {"leaks": {"what": what}}, "epochs": 1})
    assert [numbers(trial(recipe, f"after {place}")) for place, recipe in enumerate(networks)] == before
    assert "epoch 2" in Path(tmp_path, "after 0", "log.txt").read_text()


def megabytes() -> float:
    """What the process holds of the machine's memory; 0 where only Linux would tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.exists() else 0.0


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_the_first_and_the_last_of_twenty_are_the_same_and_memory_is_flat(trial: Callable[..., Result]) -> None:
    first = numbers(trial(PLAIN))
    assert first["weights"] is not None, first["reason"]
    held: list[tuple[int, float]] = []
    for _ in range(4):
        for name in NASTY:
            vandalise(trial, name)
            assert numbers(trial(PLAIN)) == first, f"after {name}"
        held.append((tensors(), megabytes()))
    # what the first round leaves is what is kept for the next trial
    assert {count for count, _ in held} == {held[0][0]}
    assert held[-1][1] - held[0][1] < 20


@pytest.mark.parametrize("name", NASTY)
def test_interrupted_and_resumed_after_another_trial(name: str, trial: Callable[..., Result]) -> None:
    longer = PLAIN | {"epochs": 3}
    whole = numbers(trial(longer))
    for after in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            trial(longer, f"cut {after}", Stops(after))
        vandalise(trial, name)
        assert numbers(trial(longer, f"cut {after}")) == whole


def test_a_process_of_its_own_gives_the_same(trial: Callable[..., Result], plugins: list[Path], tmp_path: Path) -> None:
    vandalise(trial, "vandal")
    here = numbers(trial(PLAIN))
    recipe = PLAIN | {"numerics": {"precision": "fp32"}}
    job = Job("tiny", "baseline", 1, recipe, str(tmp_path / "alone"), str(tmp_path), tuple(map(str, plugins)))
    code = (
        "import json, sys; from experiments.job import Job; from experiments.trial import run_trial; "
        "from plugins import Ignores; "
        "print(json.dumps(run_trial(Job(**json.loads(sys.argv[1])), Ignores()).as_data()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asdict(job))],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"},
    )  # fmt: skip
    assert numbers(Result(**json.loads(done.stdout))) == here


GAMBLER = '''
"""Draws where it should not."""
import random
from typing import Literal
import numpy as np
from experiments.options import Refinement
from trainer.hooks import Hook


class Gambler(Refinement):
    """Scales the loss by chance."""

    kind: Literal["gambler"] = "gambler"

    def build(self, setup):
        return GamblerHook()


class GamblerHook(Hook):
    def loss(self, loss, logits, batch):
        return loss * (random.random() + np.random.random())
'''


def test_a_plugin_that_draws_from_python_and_numpy_is_exact_as_well(
    trial: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "few.py"
    file.write_text(file.read_text() + GAMBLER)
    gamble = PLAIN | {"refinements": {"gambler": {}}, "epochs": 2}
    whole = numbers(trial(gamble))
    vandalise(trial, "vandal")
    assert numbers(trial(gamble)) == whole
    with pytest.raises(KeyboardInterrupt):
        trial(gamble, "cut", Stops(1))
    assert numbers(trial(gamble, "cut")) == whole


BUILDERS = '''
"""Draw while they are built."""
import random
from typing import Literal
import numpy as np
import torch
from torch.nn import functional
from experiments.options import Loss, Refinement
from trainer.hooks import Hook


class Shifted(Loss):
    """Cross-entropy of logits that are shifted at random."""

    kind: Literal["shifted"] = "shifted"

    def build(self, setup):
        shift = torch.randn(setup.num_classes)
        return lambda logits, targets: functional.cross_entropy(logits + shift, targets)


class Scaled(Refinement):
    """Scales the loss at random."""

    kind: Literal["scaled"] = "scaled"

    def build(self, setup):
        return ScaledHook(torch.rand(()) + random.random() + np.random.random())


class ScaledHook(Hook):
    def __init__(self, scale):
        self.scale = scale

    def loss(self, value, logits, batch):
        return value * self.scale
'''


def test_a_plugin_that_draws_while_it_is_built_is_exact_as_well(trial: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "few.py"
    file.write_text(file.read_text() + BUILDERS)
    built = PLAIN | {"refinements": {"scaled": {}}, "loss": {"kind": "shifted"}, "epochs": 2}
    whole = numbers(trial(built))
    for name in ("vandal", "diverged"):
        vandalise(trial, name)
        assert numbers(trial(built)) == whole, f"after {name}"
    with pytest.raises(KeyboardInterrupt):
        trial(built, "cut", Stops(1))
    assert numbers(trial(built, "cut")) == whole
