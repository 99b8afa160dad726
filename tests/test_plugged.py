"""What a plugin gives back that the loop can't take is a line that names the option, and the point where it gave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches import a_recipe
from conftest import TINY
from made_up import planned
from plugins import FEW, attempt, of_few, written

from experiments import catalog
from experiments.recipe import parse_recipe
from experiments.training.assembly import read_parts
from reports.runs import collect_runs
from reports.tables import make_tables

OWN = '''
"""A refinement, a schedule and a loss of one's own."""
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from experiments.options import Loss, Optimizer, Refinement, Schedule
from trainer.hooks import Hook


class Odd(Refinement):
    """Does what its setting says."""

    kind: Literal["odd"] = "odd"
    networks = ("ema",)
    what: str = "nothing"

    def build(self, setup):
        found = OddHook(self.what)
        others = {"no hook": None, "a class": OddHook, "frozen": Frozen(), "ends": Ends()}
        others |= {"misspelled": Misspelled(), "idle": Idle(), "explicitly nothing": Hook()}
        return others.get(self.what, found)


@dataclass(frozen=True)
class Frozen(Hook):
    strength: float = 0.5

    def rate(self, factor, moment):
        return factor * self.strength


class Misspelled(Hook):
    def agument(self, batch, draws):
        return batch


class Idle(Hook):
    def helper(self):
        return 1


class Ends(Hook):
    last = 1


class OddHook(Hook):
    def __init__(self, what):
        self.what = what

    def place(self, frame, samples, draws):
        return None if self.what == "no frame" else frame

    def augment(self, batch, draws):
        smaller = replace(batch, images=batch.images[:, :, :10, :10])
        scaled = replace(batch, images=batch.images / 255 - 0.5)
        black = replace(batch, images=batch.images * 0)
        found = {"no batch": None, "a tensor": batch.images, "smaller": smaller, "scaled": scaled, "black": black}
        return found.get(self.what, batch)

    def mix(self, batch, draws):
        found = {
            "doubles": replace(batch, images=batch.images.double()),
            "narrow": replace(batch, targets=batch.targets.int()),
            "four classes": replace(batch, targets=torch.ones(len(batch.targets), 4)),
            "probabilities": replace(batch, targets=torch.ones(len(batch.targets), 3) / 3),
        }
        return found.get(self.what, batch)

    def placed(self):
        return "a helper"

    def step_end(self, model):
        if self.what == "its last":
            self.last = 3
        if self.what == "own names":
            self.latest = 3

    def state_dict(self):
        seen = {"a deque": deque([1]), "a number of numpy": np.float64(1)}
        return {"seen": [seen.get(self.what, {"plain": (1.0, None, {"set"})})]}

    def rate(self, factor, moment):
        return float("nan") if self.what == "no rate" else factor

    def loss(self, value, logits, batch):
        return {"no scalar": value[None], "detached": value.detach()}.get(self.what, value)

    def start(self, model):
        self.model = model
        if self.what == "a layer more":
            model.fc = nn.Sequential(model.fc)
        if self.what == "another layer":
            model.act1 = nn.SiLU()

    def networks(self):
        names = {"averaged": "ema", "another name": "swa"}
        if self.what == "no network":
            return {"ema": 1}
        return {names[self.what]: self.model} if self.what in names else {}


class OddRate(Schedule):
    """Likewise."""

    kind: Literal["odd_rate"] = "odd_rate"
    what: str = "one"

    def factor(self, moment):
        return {"none": None, "less": -1, "tensor": torch.ones(1), "numpy": np.float32(1), "whole": 1}.get(self.what, 1.0)


class OddOptimizer(Optimizer):
    """Likewise."""

    kind: Literal["odd_optimizer"] = "odd_optimizer"
    what: str = "sgd"

    def build(self, groups):
        if self.what == "a class":
            return torch.optim.SGD
        if self.what == "closure":
            return torch.optim.LBFGS(groups[0]["params"])
        found = torch.optim.SGD(groups, lr=self.lr)
        if self.what == "few parameters":
            return torch.optim.SGD(groups[0]["params"][:2], lr=self.lr)
        if self.what == "a rate of its own":
            return torch.optim.SGD(groups[0]["params"], lr=0.5)
        if self.what == "two rates":
            first, *others = groups[0]["params"]
            return torch.optim.SGD([{"params": [first], "lr": self.lr / 2}, {"params": others}], lr=self.lr)
        if self.what == "no rate":
            del found.param_groups[0]["lr"]
        if self.what == "a deque":
            found.state[groups[0]["params"][0]]["past"] = deque()
        return found


class OddLoss(Loss):
    """Likewise."""

    kind: Literal["odd_loss"] = "odd_loss"
    what: str = "mean"

    def build(self, setup):
        if self.what == "nothing":
            return None
        if self.what == "one argument":
            return lambda logits: logits.sum()
        how = "none" if self.what == "each" else "mean"
        loss = lambda logits, targets: functional.cross_entropy(logits, targets, reduction=how)
        return (lambda *given: loss(*given).item()) if self.what == "a number" else loss
'''


@pytest.fixture
def train(tmp_path: Path) -> Any:
    own = tmp_path / "own.py"
    own.write_text(OWN)
    few = written(tmp_path, FEW)
    folders = iter(range(9))

    def trained(**changed: Any) -> str:
        recipe = of_few([0, 1, 2, 0, 1, 2], epochs=1, batch_size=3, **changed)
        result = attempt(recipe, [few, own], f"trial{next(folders)}")
        assert (result.status == "finished") == (not result.reason)
        assert not result.again or not result.reason, "the same code would do the same again"
        return result.reason

    return trained


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nothing", ""),
        ("no hook", "odd: build gave None, expected an instance of a class derived from trainer.hooks.Hook"),
        ("a class", "odd: build gave <class"),
        ("no frame", "odd: place gave None, expected the frame that it was given, with one more map"),
        ("no batch", "odd: augment gave None, expected a batch, dataclasses.replace of the one that it was given"),
        ("a tensor", "odd: augment gave Tensor of shape [3, 3, 16, 16], expected a batch"),
        (
            "smaller",
            "odd: augment gave images torch.float32 [3, 3, 10, 10] with targets torch.int64 [3], expected images of the shape that it was given, "
            "[3, 3, 16, 16]",
        ),
        (
            "scaled",
            "odd: augment gave images torch.float32 [3, 3, 16, 16] with targets torch.int64 [3], expected pixel ",
        ),
        ("black", ""),
        ("misspelled", "odd: its hook has 'agument', which the loop does not call; did you mean 'augment'?"),
        (
            "idle",
            "odd: its hook acts at no point, expected one of start, epoch_start, place, augment, mix, rate, loss, ",
        ),
        ("explicitly nothing", ""),
        ("no rate", "odd: rate gave nan, expected a finite number"),
        ("averaged", ""),
        ("no network", "odd: networks gave {'ema': 1}, expected a dict from a name to a network"),
        ("another name", "odd: networks gave {'swa': "),
        ("no scalar", "odd: loss gave Tensor of shape [1], expected a tensor of one number, the batch's mean"),
        ("detached", "odd: loss gave Tensor of shape [], expected one with a gradient"),
        ("frozen", ""),
        ("probabilities", ""),
        (
            "doubles",
            "odd: mix gave images torch.float64 [3, 3, 16, 16] with targets torch.int64 [3], expected images of the type "
            "that it was given, torch.float32, instead of torch.float64",
        ),
        (
            "narrow",
            "odd: mix gave images torch.float32 [3, 3, 16, 16] with targets torch.int32 [3], expected targets that are "
            "classes, int64 [3], or probabilities, float32 [3, 3]",
        ),
        (
            "four classes",
            "odd: mix gave images torch.float32 [3, 3, 16, 16] with targets torch.float32 [3, 4], expected targets that are "
            "classes",
        ),
        ("own names", ""),
        (
            "its last",
            "odd: its hook sets 'last', where the loop keeps the last epoch in which it acts; expected another name, or "
            "`works_in` to act in some epochs only",
        ),
        ("ends", "odd: its hook sets 'last', where"),
        (
            "a deque",
            "odd: state_dict gave {'seen': [deque([1])]}, expected a dict of tensors and plain values, which a checkpoint "
            "holds, but seen.0 is deque",
        ),
        ("a number of numpy", "odd: state_dict gave {'seen': [np.float64(1.0)]}, expected a dict"),
        (
            "another layer",
            "odd: start changed the network at act1, expected it as the architecture builds it; what makes another "
            "network is a surgery, or an option of architectures",
        ),
        ("a layer more", "odd: start changed the network at fc, expected"),
    ],
)
def test_of_a_refinement(train: Any, what: str, reason: str) -> None:
    found = train(refinements={"odd": {"what": what}, "flip": {}})
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_two_networks_of_one_name_are_refused(train: Any) -> None:
    reason = train(refinements={"odd": {"what": "averaged"}, "ema": {}})
    assert reason == "two refinements give a network 'ema', whose metrics would be one; expected two names"


@pytest.mark.parametrize(
    ("what", "got"),
    [("one", ""), ("numpy", ""), ("whole", ""), ("none", "None"), ("less", "-1"), ("tensor", "Tensor of shape [1]")],
)
def test_of_a_schedule(train: Any, what: str, got: str) -> None:
    expected = f"odd_rate: factor gave {got}, expected a finite number from 0 on" if got else ""
    assert train(schedule={"kind": "odd_rate", "what": what}) == expected


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("sgd", ""),
        ("a class", "odd_optimizer: build gave <class 'torch.optim.sgd.SGD'>, expected a torch.optim.Optimizer"),
        ("no rate", "odd_optimizer: build gave groups without 'lr', expected the rate that schedules scale in each"),
        (
            "closure",
            "odd_optimizer: step is missing a required argument: 'closure', expected step(); what takes a further "
            "pass is a refinement, at `loss`",
        ),
        ("few parameters", "odd_optimizer: build left out "),
        ("a rate of its own", "odd_optimizer: build gave groups of the rate 0.5, expected the recipe's `lr`, 0.1"),
        ("two rates", ""),
        ("a deque", "odd_optimizer: state_dict gave {'state': {0: {'past': deque([])}}, 'param_groups': "),
    ],
)
def test_of_an_optimizer(train: Any, what: str, reason: str) -> None:
    found = train(optimizer={"kind": "odd_optimizer", "lr": 0.1, "what": what})
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("mean", ""),
        ("nothing", "odd_loss: build gave None, expected a function of logits and targets"),
        ("one argument", "odd_loss: what it builds is too many positional arguments, expected (logits, targets)"),
        ("each", "odd_loss: what it builds gave Tensor of shape [3], expected a tensor of one number"),
        ("a number", "odd_loss: what it builds gave "),
    ],
)
def test_of_a_loss(train: Any, what: str, reason: str) -> None:
    found = train(loss={"kind": "odd_loss", "what": what})
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


WRONG = '''
from typing import Literal
from experiments.options import Architecture


class Wrong(Architecture):
    """Forgets to return."""

    kind: Literal["wrong"] = "wrong"

    def build(self, num_classes):
        from torch import nn
        nn.Linear(3, num_classes)
'''


def test_a_network_that_cannot_be_built_costs_no_report(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    text = TINY.replace("\nstudy: tiny", "\nplugins: [wrong.py]\nstudy: tiny")
    text = text.replace("deep: {architecture.tweak: D}", "deep: {architecture: {kind: wrong}}")
    runs = collect_runs(planned(tmp_path, text))
    assert runs.fact("deep", "params") is None
    assert runs.fact("plain", "params") == 20382
    assert make_tables(runs)


OUTPUTS = '''
from typing import Literal
from experiments.options import Architecture


class Outputs(Architecture):
    """Has more to give than logits."""

    kind: Literal["outputs"] = "outputs"
    what: str

    def build(self, num_classes):
        from torch import nn
        more = self.what == "a class more"

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(3, num_classes + more)
                self.steps = 0

            def forward(self, images):
                logits = self.layer(images.mean((2, 3)))
                self.steps += self.training
                if what == "a class more at last" and self.steps and not self.training:
                    return nn.functional.pad(logits, (0, 1))
                return (logits, logits) if what == "a pair" or what == "a pair in training" and self.training else logits

        what = self.what
        return Net()
'''


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("logits", ""),
        (
            "a pair",
            'architecture {"kind": "outputs", "what": "a pair"} gives tuple for one image, expected logits [1, 3]',
        ),
        (
            "a class more",
            'architecture {"kind": "outputs", "what": "a class more"} gives [1, 4] for one image, expected logits [1, 3]',
        ),
        ("a pair in training", "the network gave tuple in training, expected logits [3, 3]"),
        ("a class more at last", "the network gave [3, 4] in evaluation, expected logits [3, 3]"),
    ],
)
def test_of_a_network(train: Any, tmp_path: Path, what: str, reason: str) -> None:
    with (tmp_path / "own.py").open("a") as own:
        own.write(OUTPUTS)
    assert train(architecture={"kind": "outputs", "what": what}) == reason


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "uint64"])
def test_labels_and_splits_may_be_whole_numbers_of_any_type(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    narrow = FEW.replace("labels=labels,", f"labels=labels.astype({kind!r}),")
    for rows in ("np.arange(len(self.train))", "np.arange(len(self.train), len(labels))"):
        narrow = narrow.replace(rows, f"{rows}.astype({kind!r})")
    (tmp_path / "few.py").write_text(narrow)
    result = attempt(of_few([0, 1, 2] * 4, epochs=1, refinements={"mixup": {}}), [tmp_path / "few.py"])
    assert (result.status, result.reason) == ("finished", "")


COUNTS = '''
"""Counts, and averages its network, and keeps both or neither."""
import copy
from typing import Literal
import torch
from experiments.options import Refinement
from trainer.hooks import Hook


class Counts(Refinement):
    """Counts its steps."""

    kind: Literal["counts"] = "counts"
    networks = ("mean",)
    keeps: bool

    def build(self, setup):
        return Keeping() if self.keeps else Counting()


class Counting(Hook):
    def __init__(self):
        self.seen, self.epoch, self.limit, self.losses, self.total = 0, 0, 5, [], torch.zeros(())

    def start(self, model):
        self.steps, self.mean = 7, copy.deepcopy(model)

    def epoch_start(self, epoch):
        self.epoch = epoch

    def loss(self, value, logits, batch):
        self.seen += 1
        self.losses.append(float(value.detach()))
        self.total = self.total + value.detach()
        return value

    def networks(self):
        return {"mean": self.mean}


class Keeping(Counting):
    def state_dict(self):
        return {"seen": self.seen}
'''


def test_what_a_hook_s_class_holds_is_each_trial_s_own(tmp_path: Path) -> None:
    own = tmp_path / "counts.py"
    held = ("self.seen, self.epoch, self.limit, self.losses, self.total = 0, 0, 5, [], torch.zeros(())", "pass")
    text = COUNTS.replace(*held).replace("self.seen += 1\n        self.losses", "self.losses")
    text = text.replace(
        "self.total = self.total + value.detach()\n        return value", "return value * len(self.losses)"
    )
    own.write_text(text.replace("class Counting(Hook):", "class Counting(Hook):\n    losses = []"))
    recipe = of_few([0, 1, 2, 0, 1, 2], epochs=2, batch_size=3, refinements={"counts": {"keeps": False}})
    first, second = (attempt(recipe, [written(tmp_path, FEW), own], folder) for folder in ("one", "two"))
    assert first.status == "finished", first.reason
    assert [epoch["train_loss"] for epoch in first.history] == [epoch["train_loss"] for epoch in second.history]
    assert "the hook Counting changes losses, mean during training" in first.notes[0]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_hook_that_forgets_is_told(keeps: bool, tmp_path: Path) -> None:
    own = tmp_path / "counts.py"
    own.write_text(COUNTS)
    few = written(tmp_path, FEW)
    recipe = of_few([0, 1, 2, 0, 1, 2], epochs=2, batch_size=3, refinements={"counts": {"keeps": keeps}, "flip": {}})
    result = attempt(recipe, [few, own], "trial")
    assert result.status == "finished", result.reason
    expected = (
        "the hook Counting changes seen, losses, total, mean during training, but its `state_dict` gives nothing: an "
        "interruption loses what is not set anew in each epoch"
    )
    assert list(result.notes) == ([] if keeps else [expected])


def test_settings_of_a_data_set_may_be_lists(tmp_path: Path) -> None:
    plugin = tmp_path / "listed.py"
    plugin.write_text(FEW.replace("tuple[int, ...]", "list[int]").replace('"few"', '"listed"'))
    recipe = of_few([0, 1, 2, 0, 1, 2], epochs=1, batch_size=3)
    recipe["dataset"]["kind"] = "listed"
    for folder in ("one", "two"):
        assert attempt(recipe, [plugin.resolve()], folder).reason == ""


def test_a_network_is_built_again_with_all_its_settings(tmp_path: Path) -> None:
    plugin = tmp_path / "scaled.py"
    plugin.write_text(SCALED)
    catalog.add_plugin(plugin)
    recipe = a_recipe({}) | {"architecture": {"kind": "scaled", "weights_scale": 3.0}}
    found = read_parts(parse_recipe(recipe).as_data()).architecture
    assert found.model_dump()["weights_scale"] == 3.0
    staged = {"kind": "resnet50", "tweak": "A", "weights_file": "gone.pt"}
    recorded = parse_recipe(a_recipe({})).as_data() | {"architecture": staged}
    assert read_parts(recorded).architecture.model_dump()["weights_file"] is None, "it need not be there any more"


SCALED = """
from typing import Literal
from experiments.options import Architecture


class Scaled(Architecture):
    kind: Literal["scaled"] = "scaled"
    weights_scale: float = 1.0

    def build(self, num_classes):
        raise NotImplementedError
"""


def test_what_an_error_says_moves_no_cursor(train: Any) -> None:
    plugin = Path("evil.py")
    raises = "raise RuntimeError('evil\\x1b[2J \\x00')"
    plugin.write_text(HOOK.format(name="evil", raises=raises))
    result = attempt(of_few([0, 1, 2], refinements={"evil": {}}), [plugin.resolve(), written(Path(), FEW).resolve()])
    assert result.status == "failed"
    assert "RuntimeError: evil\\x1b[2J \\x00 (evil.py:" in result.reason


def test_a_full_disk_of_its_own_is_not_the_trials(train: Any) -> None:
    plugin = Path("full.py")
    plugin.write_text(HOOK.format(name="full", raises="raise OSError(28, 'No space left on device')"))
    result = attempt(of_few([0, 1, 2], refinements={"full": {}}), [plugin.resolve(), written(Path(), FEW).resolve()])
    assert "No space left on device (full.py:" in result.reason


HOOK = """
from typing import Literal
from experiments.options import Refinement
from trainer.hooks import Hook


class Bad(Refinement):
    kind: Literal["{name}"] = "{name}"

    def build(self, setup):
        return _Hook()


class _Hook(Hook):
    def epoch_start(self, epoch):
        {raises}
"""
