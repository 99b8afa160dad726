"""What a training keeps and when it ends: selection, early stopping, averaged weights, test split, phases, freezing."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_trainer import DATA, SETUP, Interrupted, Stops, equal, naive_evaluation, network, numbers, run
from torch import nn

from experiments.losses._weights import balanced_weights
from experiments.losses.cross_entropy import CrossEntropy
from experiments.optimizers.adam import Adam
from experiments.optimizers.sgd import Sgd
from experiments.options import Optimizer
from experiments.recipe import Recipe, parse_recipe
from experiments.refinements.distillation import Distillation, distillation_loss
from experiments.refinements.ema import Ema
from experiments.training.assembly import make_hooks
from trainer.hooks import Batch, Hook, Moment
from trainer.loop import training_mode
from trainer.metrics import EVALUATED, of_split
from trainer.stopping import EarlyStopping, selected_epoch, stale_epochs

LOSSES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.2, 3.1, 3.4]


def history(values: list[float], metric: str = "val_loss") -> list[dict[str, float]]:
    return [{metric: value} for value in values]


class TestStopping:
    def test_stale_epochs(self) -> None:
        assert [stale_epochs(history(LOSSES[:n]), "val_loss") for n in range(9)] == [0, 0, 0, 1, 0, 1, 2, 3, 4]

    def test_higher_is_better_for_accuracy(self) -> None:
        assert [stale_epochs(history([0.1, 0.3, 0.2][:n], "top1"), "top1") for n in (1, 2, 3)] == [0, 0, 1]

    def test_a_small_improvement_counts_only_without_min_delta(self) -> None:
        falling = history([1.0, 0.995, 0.99])
        assert stale_epochs(falling, "val_loss") == 0
        assert stale_epochs(falling, "val_loss", 0.02) == 2

    def test_not_a_number_improves_nothing(self) -> None:
        assert stale_epochs(history([1.0, math.nan, math.nan]), "val_loss") == 2
        assert selected_epoch(history([math.nan, math.nan]), "val_loss") == 1

    def test_the_selected_epoch_is_the_first_of_the_best(self) -> None:
        assert selected_epoch(history(LOSSES), "val_loss") == 4
        assert selected_epoch(history([0.2, 0.9, 0.9], "top1"), "top1") == 2
        assert selected_epoch(history(LOSSES), "last") == 8

    def test_it_is_due_after_patience_epochs(self) -> None:
        stopping = EarlyStopping(patience=3)
        assert [stopping.is_due(history(LOSSES[:n])) for n in range(1, 9)] == [False] * 6 + [True, True]


class Worse(Hook):
    """Makes the validation loss rise from epoch `after` on: it spoils the classifier's bias after each epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def start(self, model: nn.Module) -> None:
        self.model = model

    def epoch_end(self, epoch: int) -> None:
        if epoch > self.after:
            with torch.no_grad():
                next(reversed(list(self.model.parameters())))[0] += 20.0 * epoch


TESTED = replace(DATA, splits={**DATA.splits, "test": DATA.splits["val"][::-1].copy()})


def shared() -> nn.Module:
    """A network two of whose layers have one weight."""
    first, second = nn.Linear(12, 12), nn.Linear(12, 12)
    second.weight = first.weight
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), first, nn.ReLU(), second, nn.Linear(12, 4))


class Remembering(nn.Linear):
    """Keeps for evaluation what it makes of its weight, until it is trained: as attention in timm's LeViT."""

    kept: torch.Tensor | None = None

    def train(self, mode: bool = True) -> Remembering:
        if mode:
            self.kept = None
        return super().train(mode)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.training:
            return values @ self.weight.T
        if self.kept is None:
            self.kept = self.weight.T.clone()
        return values @ self.kept


def remembering() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), Remembering(12, 4, bias=False))


def forgetful() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(12, 4, bias=False))


class TestSelection:
    def test_the_weights_of_the_best_epoch_are_kept_and_tested(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"epochs": 6, "hooks": [Worse(after=3)], "data": TESTED, "select": "val_loss"}
        outcome = run(**settings, folder=tmp_path)
        losses = [epoch["val_loss"] for epoch in outcome.history]
        assert outcome.selected == 1 + int(np.argmin(losses)) <= 3
        chosen = outcome.history[outcome.selected - 1]
        # the test split holds the same images
        assert outcome.final["test_loss"] == pytest.approx(chosen["val_loss"])
        assert (outcome.final["test_top1"], outcome.final["test_top5"]) == (chosen["top1"], chosen["top5"])
        model = network()
        assert outcome.weights == tmp_path / "weights.safetensors"
        model.load_state_dict(load_file(outcome.weights))
        assert naive_evaluation(model, TESTED, "val")[0] == pytest.approx(chosen["val_loss"], rel=1e-5)
        assert run(**settings).final == outcome.final, "without a folder, the weights are kept in memory"

    def test_weights_that_modules_share_are_kept_under_each_of_their_names(self, tmp_path: Path) -> None:
        outcome = run(build_model=shared, hooks=[], folder=tmp_path)
        assert outcome.weights
        kept = load_file(outcome.weights)
        assert torch.equal(kept["2.weight"], kept["4.weight"])
        model = shared()
        model.load_state_dict(kept)
        assert naive_evaluation(model, DATA, "val")[0] == pytest.approx(outcome.history[-1]["val_loss"], rel=1e-5)

    def test_a_network_that_remembers_former_weights_is_tested_with_the_kept_ones(self) -> None:
        def tested(build: Callable[[], nn.Module]) -> Any:
            hooks = [Worse(after=1), Ema(decay=0.9).build(SETUP)]
            return run(build_model=build, epochs=3, hooks=hooks, data=TESTED, select="val_loss")

        found, expected = tested(remembering), tested(forgetful)
        for mine, right in zip(numbers(found.history), numbers(expected.history), strict=True):
            assert mine == pytest.approx(right)
        assert found.final == pytest.approx(expected.final)

    def test_without_selection_the_last_epoch_counts(self, tmp_path: Path) -> None:
        outcome = run(epochs=3, data=TESTED, hooks=[], folder=tmp_path)
        assert outcome.selected == 3
        assert outcome.final["test_loss"] == pytest.approx(outcome.history[-1]["val_loss"])

    def test_without_a_test_split_there_are_no_test_metrics(self) -> None:
        assert run(epochs=1).final == {}

    @pytest.mark.parametrize("at", range(1, 4))
    def test_interrupted_at_any_epoch_it_selects_the_same(self, at: int, tmp_path: Path) -> None:
        settings: dict[str, Any] = {
            "epochs": 6,
            "data": TESTED,
            "select": "val_loss",
            "early_stopping": EarlyStopping(patience=2),
        }

        def hooks() -> list[Hook]:
            return [Ema(decay=0.5).build(SETUP), Worse(after=2)]

        whole = run(**settings, hooks=hooks(), folder=tmp_path / "whole")
        assert at < len(whole.history) < 6, "it stopped early"
        with pytest.raises(Interrupted):
            run(**settings, hooks=hooks(), folder=tmp_path / "cut", recorder=Stops(at))
        again = run(**settings, hooks=hooks(), folder=tmp_path / "cut")
        assert numbers(again.history) == numbers(whole.history)
        assert (again.selected, again.final) == (whole.selected, whole.final)
        assert whole.weights
        assert again.weights
        assert equal(load_file(whole.weights), load_file(again.weights))

    def test_only_one_selected_file_stays_while_training(self, tmp_path: Path) -> None:
        run(epochs=5, hooks=[Worse(after=3)], select="val_loss", folder=tmp_path)
        assert len(list(tmp_path.glob("selected-*.pt"))) == 1


class TestEma:
    def test_the_average_is_the_weighted_sum_of_all_weights_so_far(self) -> None:
        decay = 0.8
        hook = Ema(decay=decay, warmup=False).build(SETUP)
        model = network()
        hook.start(model)
        seen = [{k: v.double().clone() for k, v in model.state_dict().items()}]
        for _ in range(5):
            with torch.no_grad():
                for tensor in model.state_dict().values():
                    tensor.add_(torch.randn(tensor.shape) if tensor.is_floating_point() else 1)
            hook.step_end(model)
            seen.append({k: v.double().clone() for k, v in model.state_dict().items()})
        averaged = hook.networks()["ema"].state_dict()
        for name, tensor in averaged.items():
            expected = decay**5 * seen[0][name] + sum(
                (1 - decay) * decay ** (5 - t) * seen[t][name] for t in range(1, 6)
            )
            if not tensor.is_floating_point():
                expected = seen[-1][name]
            assert torch.allclose(tensor.double(), expected, atol=1e-5), name

    def test_weights_that_modules_share_are_averaged_once(self) -> None:
        model = shared()
        hook = Ema(decay=0.8, warmup=False).build(SETUP)
        hook.start(model)
        before = model.get_parameter("2.weight").detach().clone()
        with torch.no_grad():
            model.get_parameter("2.weight").add_(1.0)
        hook.step_end(model)
        assert torch.allclose(hook.networks()["ema"].get_parameter("4.weight"), before + 0.2)

    def test_it_is_evaluated_beside_the_raw_weights(self) -> None:
        hook = Ema(decay=0.9).build(SETUP)
        outcome = run(hooks=[hook], data=TESTED)
        averaged = hook.networks()["ema"]
        loss, top1, top5, _ = naive_evaluation(averaged, TESTED, "val")
        last = outcome.history[-1]
        assert (last["ema_val_loss"], last["ema_top1"], last["ema_top5"]) == pytest.approx((loss, top1, top5), rel=1e-5)
        assert last["ema_val_loss"] != last["val_loss"]
        assert outcome.final["ema_test_loss"] == pytest.approx(loss, rel=1e-5)

    def test_it_changes_nothing_about_training(self) -> None:
        plain, averaged = run(hooks=[]), run(hooks=[Ema().build(SETUP)])
        kept = [{k: v for k, v in epoch.items() if not k.startswith("ema_")} for epoch in averaged.history]
        assert numbers(kept) == numbers(plain.history)


class TestEmaInPhases:
    @staticmethod
    def ema(first: int, last: int = sys.maxsize) -> Hook:
        hook = Ema(decay=0.5, warmup=False).build(SETUP)
        hook.first, hook.last = first, last
        return hook

    def test_it_begins_with_the_weights_of_then(self) -> None:
        """After one epoch of five steps with a decay of 1/2, 1/32 of the average is what it began with."""
        begun = run(epochs=3, hooks=[self.ema(3)])
        plain = run(epochs=3, hooks=[])
        assert [("ema_top1" in epoch) for epoch in begun.history] == [False, False, True]
        assert begun.history[2]["ema_val_loss"] == pytest.approx(plain.history[2]["val_loss"], rel=0.1)
        never = Ema(decay=0.999999, warmup=False).build(SETUP)
        never.first = 3
        assert run(epochs=3, hooks=[never]).history[2]["ema_val_loss"] == pytest.approx(
            plain.history[1]["val_loss"], rel=1e-3
        )

    def test_only_networks_of_the_selected_epoch_are_tested(self) -> None:
        outcome = run(epochs=5, data=TESTED, select="val_loss", hooks=[Worse(after=2), self.ema(4)])
        assert outcome.selected <= 2
        assert sorted(outcome.final) == sorted(of_split(name, "test") for name in EVALUATED)
        outcome = run(epochs=5, data=TESTED, select="val_loss", hooks=[Worse(after=2), self.ema(1, 3)])
        chosen = outcome.history[outcome.selected - 1]
        assert outcome.final["ema_test_loss"] == pytest.approx(chosen["ema_val_loss"])

    def test_killed_after_the_last_epoch_it_is_still_tested(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"epochs": 3, "data": TESTED}
        whole = run(**settings, hooks=[self.ema(2)], folder=tmp_path / "whole")
        with pytest.raises(Interrupted):
            run(**settings, hooks=[self.ema(2)], folder=tmp_path / "cut", recorder=Stops(3))
        again = run(**settings, hooks=[self.ema(2)], folder=tmp_path / "cut")
        assert again.final == whole.final
        assert "ema_test_top1" in again.final


class TestFreezing:
    def test_frozen_modules_stay_in_evaluation_mode_and_as_they_were(self) -> None:
        def build() -> nn.Module:
            model = network()
            for module in (model[0], model[1]):
                module.requires_grad_(False)
            return model

        kept: list[nn.Module] = []

        class Keeps(Hook):
            def start(self, model: nn.Module) -> None:
                kept.append(model)
                self.before = {k: v.clone() for k, v in model.state_dict().items()}

            def step_end(self, model: nn.Module) -> None:
                assert not model[1].training
                assert model[3].training, "dropout has no parameters and stays on"

        keeps = Keeps()
        run(build_model=build, hooks=[keeps], epochs=2)
        after = kept[0].state_dict()
        changed = [name for name in after if not torch.equal(after[name], keeps.before[name])]
        assert changed == ["6.weight", "6.bias"]

    def test_the_mode_is_set_by_each_modules_own_parameters(self) -> None:
        model = nn.Sequential(nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)), nn.Dropout())
        model[0][0].requires_grad_(False)
        training_mode(model)
        assert [module.training for module in model.modules()] == [True, True, False, True, True]

    def test_a_frozen_parameter_of_the_whole_network_leaves_its_modules_training(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        model.register_parameter("embedding", nn.Parameter(torch.zeros(3), requires_grad=False))
        training_mode(model)
        assert [module.training for module in model.modules()] == [False, True, True]

    @pytest.mark.parametrize("optimizer", [Sgd(lr=0.1), Adam(lr=0.1), Sgd(lr=0.1, decay_bias=False)])
    def test_frozen_parameters_are_not_the_optimizers(self, optimizer: Optimizer) -> None:
        model = network()
        model[0].requires_grad_(False)
        built = optimizer.build(optimizer.groups(model))
        held = {id(p) for group in built.param_groups for p in group["params"]}
        assert held == {id(p) for p in model.parameters()} - {id(p) for p in model[0].parameters()}


class TestDecay:
    @pytest.mark.parametrize("make", [Sgd, Adam])
    def test_biases_and_norms_can_be_spared(self, make: Callable[..., Optimizer]) -> None:
        """With a zero gradient, a step of size lr shrinks a decayed parameter and leaves the others."""
        model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = make(lr=0.5, weight_decay=0.1, decay_bias=False)
        built = optimizer.build(optimizer.groups(model))
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        built.step()
        moved = [not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)]
        assert moved == [True, False, False, False]

    def test_by_default_all_decay(self) -> None:
        optimizer = Sgd(lr=0.5, weight_decay=0.1)
        groups = optimizer.build(optimizer.groups(network())).param_groups
        assert [group["weight_decay"] for group in groups] == [0.1]


class TestClassWeights:
    def test_a_class_weighs_by_its_rarity(self) -> None:
        assert balanced_weights([1, 3, 0, 4]).tolist() == [2.0, 2 / 3, 0.0, 0.5]

    def test_the_loss_is_the_weighted_mean(self) -> None:
        setup = replace(SETUP, class_counts=(10, 20, 30, 40))
        criterion = CrossEntropy(class_weights="balanced").build(setup)
        logits = torch.randn(12, 4, dtype=torch.float32)
        targets = torch.randint(0, 4, (12,))
        w = [100 / (4 * n) for n in (10, 20, 30, 40)]
        total, weight = 0.0, 0.0
        for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True):
            total += w[target] * (math.log(sum(map(math.exp, row))) - row[target])
            weight += w[target]
        assert float(criterion(logits, targets)) == pytest.approx(total / weight, rel=1e-5)

    def test_probabilities_weigh_as_classes_do(self) -> None:
        setup = replace(SETUP, class_counts=(10, 20, 30, 40))
        criterion = CrossEntropy(class_weights="balanced").build(setup)
        logits, targets = torch.randn(12, 4), torch.randint(0, 4, (12,))
        one_hot = nn.functional.one_hot(targets, 4).float()
        assert criterion(logits, one_hot).item() == pytest.approx(criterion(logits, targets).item(), rel=1e-5)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_smoothing_leaves_an_images_weight_and_a_mixed_one_counts_by_its_parts(self, smoothing: float) -> None:
        """As if each part of an image were an image of its own, with its own smoothed target."""
        setup = replace(SETUP, class_counts=(900, 80, 15, 5))
        criterion = CrossEntropy(class_weights="balanced", label_smoothing=smoothing).build(setup)
        logits = torch.randn(6, 4, dtype=torch.float64)
        first, second = torch.randint(0, 4, (6,)), torch.randint(0, 4, (6,))
        w = [1000 / (4 * n) for n in setup.class_counts]

        def smoothed_loss(row: list[float], target: int) -> float:
            logs = [value - math.log(sum(map(math.exp, row))) for value in row]
            return -sum(((1 - smoothing) * (k == target) + smoothing / 4) * logs[k] for k in range(4))

        for share in (1.0, 0.3):
            total = weight = 0.0
            for row, a, b in zip(logits.tolist(), first.tolist(), second.tolist(), strict=True):
                for part, target in ((share, a), (1 - share, b)):
                    total += part * w[target] * smoothed_loss(row, target)
                    weight += part * w[target]
            mixed = share * nn.functional.one_hot(first, 4) + (1 - share) * nn.functional.one_hot(second, 4)
            assert float(criterion(logits, mixed.double())) == pytest.approx(total / weight, rel=1e-6)
        # alone in its batch, an image counts as it does without weights
        plain = CrossEntropy(label_smoothing=smoothing).build(setup)
        for i in range(6):
            alone = (logits[i : i + 1].float(), first[i : i + 1])
            assert float(criterion(*alone)) == pytest.approx(float(plain(*alone)), rel=1e-5)


class TestDistillation:
    def test_the_loss_is_t_squared_times_the_cross_entropy_of_softened_outputs(self) -> None:
        generator = np.random.default_rng(1)
        z, r, t = generator.normal(size=(5, 7)), generator.normal(size=(5, 7)), 3.0

        def softmax(x: np.ndarray) -> np.ndarray:
            e = np.exp(x)
            return e / e.sum(1, keepdims=True)

        expected = t**2 * float(np.mean(np.sum(-softmax(r / t) * np.log(softmax(z / t)), axis=1)))
        value = distillation_loss(torch.tensor(z), torch.tensor(r), t)
        assert float(value) == pytest.approx(expected)

    def test_the_hook_adds_it_to_the_criterion(self) -> None:
        teacher = network().eval()
        setup = replace(SETUP, teachers={"abc": lambda: teacher})
        hook = Distillation(teacher="abc", temperature=2.0, weight=0.5).build(setup)
        images, logits = torch.randn(3, 3, 16, 16), torch.randn(3, 4, requires_grad=True)
        batch = Batch(images, torch.zeros(3, dtype=torch.int64), np.arange(3))
        added = hook.loss(torch.tensor(1.0), logits, batch) - 1.0
        expected = 0.5 * distillation_loss(logits, teacher(images), 2.0)
        assert added.item() == pytest.approx(expected.item())
        added.backward()
        assert logits.grad is not None


def recipe(**changed: Any) -> Recipe:
    plain: dict[str, Any] = {
        "dataset": {"kind": "digits", "image_size": 16},
        "architecture": {"kind": "resnet18", "tweak": "A"},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "epochs": 10,
        "batch_size": 8,
    }
    return parse_recipe({**plain, **changed})


class TestPhases:
    def test_each_refinement_is_at_work_in_its_epochs(self) -> None:
        phased = recipe(
            refinements={"flip": {}, "mixup": {"alpha": 0.2}},
            phases=[
                {"start": 4, "refinements": {"flip": {}, "mixup": {"alpha": 0.8}}},
                {"start": 8, "refinements": {"flip": {}}},
            ],
        )
        hooks = make_hooks(phased, SETUP)
        spans = [(type(hook).__name__, hook.first, hook.last) for hook in hooks]
        assert spans == [("_FlipHook", 1, sys.maxsize), ("_MixupHook", 1, 3), ("_MixupHook", 4, 7)]

    def test_off_at_work_and_off_again(self) -> None:
        class Notes(Hook):
            def __init__(self) -> None:
                self.steps: list[float] = []

            def rate(self, factor: float, moment: Moment) -> float:
                self.steps.append(moment.epoch)
                return factor

        notes = Notes()
        notes.first, notes.last = 2, 3
        run(epochs=4, hooks=[notes])
        assert {int(step) for step in notes.steps} == {1, 2}

    def test_a_phase_changes_what_comes_after_it_only(self) -> None:
        """Until the phase starts, the training is that without it, bit for bit."""
        plain = recipe(refinements={"mixup": {}}, epochs=3)
        phased = recipe(refinements={"mixup": {}}, phases=[{"start": 3, "refinements": {}}], epochs=3)
        one, other = (run(hooks=make_hooks(r, SETUP)).history for r in (plain, phased))
        assert numbers(one)[:2] == numbers(other)[:2]
        assert numbers(one)[2] != numbers(other)[2]

    def test_order_of_hooks(self) -> None:
        hooks = make_hooks(
            recipe(refinements={"cutout": {"length": 4}, "flip": {}, "mixup": {}, "random_crop": {}}), SETUP
        )
        assert [type(hook).__name__ for hook in hooks] == ["_RandomCropHook", "_FlipHook", "_CutoutHook", "_MixupHook"]
