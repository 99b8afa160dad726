"""Plugins that several tests share, and trials with them as a worker runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batches import a_recipe

from experiments.job import Job, Result
from experiments.trial import run_trial
from trainer.recorder import Epoch, Recorder

FEW = '''
"""As many images as a test asks for."""
from pathlib import Path
from typing import Literal
import numpy as np
from experiments.options import Dataset
from trainer.data import Source


class Few(Dataset):
    """Noise that is brighter the higher its class; `train` and `val` are the images' classes."""

    kind: Literal["few"] = "few"
    train: tuple[int, ...]
    val: tuple[int, ...]

    def num_classes(self):
        return 3

    def prepare(self, say):
        pass

    def files(self):
        return [Path(__file__)]

    def read(self, seed):
        labels = np.array([*self.train, *self.val])
        noise = np.random.default_rng(0).integers(0, 60, (len(labels), 20, 20, 3))
        return Source(
            images=(noise + 90 * labels[:, None, None, None]).astype(np.uint8),
            labels=labels,
            classes=("a", "b", "c"),
            splits={"train": np.arange(len(self.train)), "val": np.arange(len(self.train), len(labels))},
        )
'''

VANDAL = '''
"""Leaves as much as it can."""
import os, random
from typing import Literal
import numpy as np
import torch
from experiments.options import Refinement
from torch.nn.modules import module
from trainer.hooks import Hook


class Vandal(Refinement):
    """Changes its process."""

    kind: Literal["vandal"] = "vandal"
    fails: bool = False

    def build(self, setup):
        return VandalHook(self.fails)


class VandalHook(Hook):
    def __init__(self, fails):
        self.fails = fails
        self.heavy = torch.zeros(2**21)

    def start(self, model):
        module.register_module_forward_hook(self.scale)

    def scale(self, inner, inputs, output):
        return output * 1.01 if isinstance(output, torch.Tensor) and self.heavy is not None else output

    def state_dict(self):
        torch.manual_seed(99)
        np.random.seed(99)
        random.seed(99)
        os.environ["OMP_NUM_THREADS"] = "7"
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
        os.chdir("/")
        torch.set_num_threads(2)
        torch.set_flush_denormal(True)
        torch.set_float32_matmul_precision("medium")
        torch.backends.mkldnn.conv.fp32_precision = "bf16"
        torch.backends.mkldnn.enabled = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.autograd.set_detect_anomaly(True)
        torch.set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        torch.set_default_dtype(torch.float64)
        if self.fails:
            torch.set_default_device("meta")
            raise RuntimeError("enough")
        return {}
'''


class Ignores:
    def epoch(self, number: int, metrics: Epoch) -> None:
        pass


def of_few(train: Sequence[int], val: Sequence[int] = (0, 1, 2), **changed: Any) -> dict[str, Any]:
    """A recipe for images of these classes; at 16 pixels the network's last maps are of one pixel."""
    side = changed.pop("image_size", 16)
    data = {"kind": "few", "train": list(train), "val": list(val), "image_size": side}
    return a_recipe(changed.pop("refinements", {})) | {"dataset": data} | changed


def written(folder: Path, plugin: str) -> Path:
    """The plugin's file."""
    file = folder / f"{'few' if plugin == FEW else 'vandal'}.py"
    file.write_text(plugin)
    return file


def attempt(
    recipe: dict[str, Any], plugins: Sequence[Path] = (), folder: str = "trial", recorder: Recorder | None = None
) -> Result:
    """One attempt at the recipe, below the working folder."""
    recipe = {"numerics": {"precision": "fp32"}, **recipe}
    job = Job("tiny", "baseline", 1, recipe, str(Path(folder).resolve()), str(Path.cwd()), tuple(map(str, plugins)))
    return run_trial(job, recorder or Ignores())
