"""What a recipe changes in training, each against its paper's formula, a naive loop or another implementation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from batches import a_setup, subset
from numpy.typing import NDArray
from scipy import stats
from torch.nn import functional

from experiments import catalog
from experiments.language.validation import Problem
from experiments.losses.cross_entropy import CrossEntropy
from experiments.optimizers.adam import Adam
from experiments.optimizers.adamw import AdamW
from experiments.optimizers.rmsprop import RmsProp
from experiments.optimizers.sgd import Sgd
from experiments.options import Optimizer, Schedule
from experiments.refinements._pairs import mixing_weights
from experiments.refinements.mixup import Mixup, mixup
from experiments.schedules.constant import Constant
from experiments.schedules.cosine import Cosine
from experiments.schedules.multi_step import MultiStep
from trainer.draws import Draws
from trainer.hooks import Batch, Moment

CLASSES = 7
DRAWS = Draws(seed=5, epoch=3)
SETUP = a_setup(num_classes=CLASSES)


def a_batch(size: int, side: int = 6, first_sample: int = 0, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, side, side, generator=generator)
    classes = torch.randint(CLASSES, (size,), generator=generator)
    return Batch(images, classes, np.arange(first_sample, first_sample + size))


def identifiable(size: int) -> Batch:
    """Image i is of class i, and its pixels are the unit vector i: a mixture shows its parts and their weights."""
    images = torch.eye(size).view(size, size, 1, 1).expand(size, size, 2, 2).contiguous()
    return Batch(images, torch.arange(size), np.arange(size))


def mixed(alpha: float, size: int, draws: Draws = DRAWS) -> Batch:
    return Mixup(alpha=alpha).build(a_setup(num_classes=size)).mix(identifiable(size), draws)


class TestMixup:
    def test_it_is_equation_1(self) -> None:
        batch = a_batch(5)
        probabilities = functional.one_hot(batch.targets, CLASSES).float()
        partner, weight = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0])
        images, targets = mixup(batch.images, probabilities, partner, weight)
        for i in range(5):
            j, w = int(partner[i]), float(weight[i])
            assert torch.allclose(images[i], w * batch.images[i] + (1 - w) * batch.images[j], atol=1e-6)
            for k in range(CLASSES):
                expected = w * (int(batch.targets[i]) == k) + (1 - w) * (int(batch.targets[j]) == k)
                assert float(targets[i, k]) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
    def test_it_equals_timm_without_its_smoothing(self, weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
        from timm.data import Mixup as TimmMixup

        batch = a_batch(6)
        theirs = TimmMixup(mixup_alpha=0.2, label_smoothing=0.0, num_classes=CLASSES)
        monkeypatch.setattr(np.random, "beta", lambda *_: weight)
        expected_images, expected_targets = theirs(batch.images.clone(), batch.targets)
        images, targets = mixup(
            batch.images,
            functional.one_hot(batch.targets, CLASSES).float(),
            torch.arange(6).flip(0),
            torch.full((6,), weight),
        )
        assert torch.allclose(images, expected_images, atol=1e-6)
        assert torch.allclose(targets, expected_targets, atol=1e-6)

    def test_labels_follow_their_pixels(self) -> None:
        found = mixed(1.0, 16)
        assert torch.equal(found.images, found.targets.view(16, 16, 1, 1).expand_as(found.images))

    def test_every_image_meets_another_one_and_each_meets_one(self) -> None:
        for size in (2, 3, 16):
            for epoch in range(1, 20):
                targets = mixed(1.0, size, Draws(0, epoch)).targets
                others = targets.clone().fill_diagonal_(0)
                assert (others > 0).sum(0).tolist() == [1] * size
                assert (others > 0).sum(1).tolist() == [1] * size

    def test_partners_differ_by_epoch(self) -> None:
        met = {int(mixed(1.0, 16, Draws(0, epoch)).targets[0, 1:].argmax()) for epoch in range(40)}
        assert len(met) > 8

    def test_each_image_has_the_weight_of_its_own_draw(self) -> None:
        weights = mixed(0.4, 16).targets.diagonal().numpy()
        uniform = DRAWS.uniform("mixup weight", np.arange(16))[:, 0]
        assert np.allclose(weights, stats.beta(0.4, 0.4).ppf(uniform), atol=1e-6)
        assert len(np.unique(weights)) == 16

    def test_the_weight_of_an_image_does_not_depend_on_its_batch(self) -> None:
        whole = mixed(0.4, 16).targets
        chosen = [11, 2, 7]
        part = Mixup(alpha=0.4).build(a_setup(num_classes=16)).mix(subset(identifiable(16), chosen), DRAWS).targets
        assert torch.equal(part[range(3), chosen], whole[chosen, chosen])

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
    def test_weights_are_beta_distributed(self, alpha: float) -> None:
        weights = mixing_weights(DRAWS, "mixup weight", np.arange(5000), alpha)
        assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 1e-3

    def test_a_single_image_stays_as_it_is(self) -> None:
        batch = a_batch(1)
        found = Mixup(alpha=0.2).build(SETUP).mix(batch, DRAWS)
        assert torch.allclose(found.images, batch.images, atol=1e-6)
        assert torch.allclose(found.targets, functional.one_hot(batch.targets, CLASSES).float(), atol=1e-6)

    def test_no_smoothing_is_hidden_in_the_targets(self) -> None:
        batch = a_batch(64)
        targets = Mixup(alpha=0.2).build(SETUP).mix(batch, DRAWS).targets
        assert targets.dtype == torch.float32
        assert torch.allclose(targets.sum(1), torch.ones(64), atol=1e-6)
        assert int((targets > 0).sum(1).max()) == 2
        assert bool((targets[range(64), batch.targets] > 0).all())

    def test_probabilities_are_mixed_as_classes_are(self) -> None:
        batch = a_batch(8)
        soft = Batch(batch.images, functional.one_hot(batch.targets, CLASSES).float(), batch.samples)
        hook = Mixup(alpha=0.2).build(SETUP)
        from_classes, from_probabilities = hook.mix(batch, DRAWS), hook.mix(soft, DRAWS)
        assert torch.equal(from_classes.targets, from_probabilities.targets)
        twice = hook.mix(from_probabilities, DRAWS).targets
        assert torch.allclose(twice.sum(1), torch.ones(8), atol=1e-6)
        assert int((twice > 0).sum(1).max()) > 2

    def test_the_batch_it_got_is_left_alone(self) -> None:
        batch = a_batch(8)
        before = batch.images.clone()
        Mixup(alpha=0.2).build(SETUP).mix(batch, DRAWS)
        assert torch.equal(batch.images, before)


class TestCrossEntropy:
    LOGITS = torch.randn(9, CLASSES, generator=torch.Generator().manual_seed(1))
    TARGETS = torch.arange(9) % CLASSES

    def written_out(self, probabilities: torch.Tensor, epsilon: float) -> float:
        """Equation 11 and the definition of cross-entropy, in a loop."""
        total = 0.0
        for logits, target in zip(self.LOGITS.double().tolist(), probabilities.tolist(), strict=True):
            log_sum = math.log(sum(math.exp(logit) for logit in logits))
            for logit, q in zip(logits, target, strict=True):
                total -= ((1 - epsilon) * q + epsilon / CLASSES) * (logit - log_sum)
        return total / len(self.LOGITS)

    @pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.6])
    def test_classes_are_smoothed_by_equation_11(self, epsilon: float) -> None:
        from timm.loss import LabelSmoothingCrossEntropy

        value = float(CrossEntropy(label_smoothing=epsilon).build(SETUP)(self.LOGITS, self.TARGETS))
        one_hot = functional.one_hot(self.TARGETS, CLASSES).float()
        assert value == pytest.approx(self.written_out(one_hot, epsilon), rel=1e-5)
        assert value == pytest.approx(float(LabelSmoothingCrossEntropy(epsilon)(self.LOGITS, self.TARGETS)), rel=1e-5)

    @pytest.mark.parametrize("epsilon", [0.0, 0.1])
    def test_mixed_targets_are_smoothed_after_mixing(self, epsilon: float) -> None:
        batch = Batch(torch.zeros(9, 3, 2, 2), self.TARGETS, np.arange(9))
        targets = Mixup(alpha=1.0).build(SETUP).mix(batch, DRAWS).targets
        value = float(CrossEntropy(label_smoothing=epsilon).build(SETUP)(self.LOGITS, targets))
        assert value == pytest.approx(self.written_out(targets, epsilon), rel=1e-5)

    def test_unmixed_probabilities_count_as_their_classes(self) -> None:
        loss = CrossEntropy(label_smoothing=0.1).build(SETUP)
        one_hot = functional.one_hot(self.TARGETS, CLASSES).float()
        assert float(loss(self.LOGITS, one_hot)) == pytest.approx(float(loss(self.LOGITS, self.TARGETS)), rel=1e-6)


def torch_factors(
    make: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler], count: int
) -> list[float]:
    """The rates that a torch scheduler gives a base rate of 1, before each of `count` steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(count):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def factors(schedule: Schedule, epochs: int, steps: int) -> list[float]:
    """The factor at every step, as the loop asks for it."""
    return [
        schedule.factor(Moment(epoch - 1 + step / steps, epochs))
        for epoch in range(1, epochs + 1)
        for step in range(steps)
    ]


class TestSchedules:
    def test_cosine_follows_equation_1_of_the_bag_of_tricks(self) -> None:
        total = 4 * 5
        expected = [0.5 * (1 + math.cos(t * math.pi / total)) for t in range(total)]
        assert factors(Cosine(), 4, 5) == pytest.approx(expected)
        assert expected[0] == 1.0

    @pytest.mark.parametrize("floor", [0.0, 0.05])
    def test_cosine_is_torchs_at_every_step(self, floor: float) -> None:
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR
        expected = torch_factors(lambda optimizer: cosine(optimizer, T_max=21, eta_min=floor), 21)
        assert factors(Cosine(floor=floor), 3, 7) == pytest.approx(expected, abs=1e-9)
        assert Cosine(floor=floor).factor(Moment(3, 3)) == pytest.approx(floor)

    def test_multi_step_is_torchs_and_falls_between_epochs(self) -> None:
        steps = torch.optim.lr_scheduler.MultiStepLR
        expected = torch_factors(lambda optimizer: steps(optimizer, milestones=[2, 3, 6], gamma=0.2), 8)
        found = factors(MultiStep(milestones=(2, 3, 6), gamma=0.2), 8, 3)
        assert found == pytest.approx([factor for factor in expected for _ in range(3)])
        assert found[5] == 1.0
        assert found[6] == pytest.approx(0.2)

    def test_milestones_in_another_order_are_the_same_training(self) -> None:
        assert MultiStep(milestones=(6, 2, 3)).identity() == MultiStep(milestones=(2, 3, 6)).identity()

    def test_constant_stays(self) -> None:
        assert factors(Constant(), 3, 4) == [1.0] * 12


GRADIENT = np.array([[2.0, 0.3], [0.3, 0.5]])
START = np.array([1.5, -2.0])
RATES = [0.1, 0.1, 0.05, 0.02, 0.2, 0.01]


def descend(option: Optimizer) -> NDArray[np.float64]:
    """Where a quadratic bowl's point goes [steps, 2] under the rates of RATES."""
    w = torch.nn.Parameter(torch.tensor(START))
    optimizer = option.build([{"params": [w]}])
    assert [group["lr"] for group in optimizer.param_groups] == [option.lr]
    path = []
    for rate in RATES:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (0.5 * w @ torch.tensor(GRADIENT) @ w).backward()
        optimizer.step()
        path.append(w.detach().numpy().copy())
    return np.array(path)


class TestOptimizers:
    def momentum_by_hand(self, momentum: float, nesterov: bool, decay: float) -> NDArray[np.float64]:
        w, v, path = START.copy(), np.zeros(2), []
        for rate in RATES:
            g = GRADIENT @ w + decay * w
            v = momentum * v + g
            w = w - rate * (g + momentum * v if nesterov else v)
            path.append(w)
        return np.array(path)

    @pytest.mark.parametrize("decay", [0.0, 0.03])
    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
    def test_sgd_takes_the_steps_of_its_formula(self, momentum: float, nesterov: bool, decay: float) -> None:
        path = descend(Sgd(lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=decay))
        assert np.allclose(path, self.momentum_by_hand(momentum, nesterov, decay), rtol=1e-12)

    def test_the_rate_scales_the_velocity_unlike_in_sutskevers_formula(self) -> None:
        w, v, path = START.copy(), np.zeros(2), []
        for rate in RATES:
            v = 0.9 * v - rate * (GRADIENT @ w)
            w = w + v
            path.append(w)
        ours = descend(Sgd(lr=0.1, momentum=0.9))
        assert np.allclose(ours[:2], path[:2]), "equal as long as the rate stays"
        assert not np.allclose(ours[2:], path[2:], rtol=0.01)

    @pytest.mark.parametrize("decay", [0.0, 0.03])
    def test_adam_is_algorithm_1(self, decay: float) -> None:
        w, m, v, path = START.copy(), np.zeros(2), np.zeros(2), []
        for t, rate in enumerate(RATES, start=1):
            g = GRADIENT @ w + decay * w
            m = 0.8 * m + 0.2 * g
            v = 0.95 * v + 0.05 * g**2
            w = w - rate * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
            path.append(w)
        found = descend(Adam(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=decay))
        assert np.allclose(found, np.array(path), rtol=1e-10)

    @pytest.mark.parametrize("decay", [0.0, 0.3])
    def test_adamw_is_algorithm_2(self, decay: float) -> None:
        """With eta_t * alpha as the rate and decay as lambda / alpha, as torch and everybody else has it."""
        w, m, v, path = START.copy(), np.zeros(2), np.zeros(2), []
        for t, rate in enumerate(RATES, start=1):
            g = GRADIENT @ w
            m = 0.8 * m + 0.2 * g
            v = 0.95 * v + 0.05 * g**2
            w = w - rate * ((m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3) + decay * w)
            path.append(w)
        found = descend(AdamW(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=decay))
        assert np.allclose(found, np.array(path), rtol=1e-10)

    @pytest.mark.parametrize("decay", [0.0, 0.03])
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_rmsprop_divides_by_the_root_of_the_mean_square(self, momentum: float, decay: float) -> None:
        w, mean, v, path = START.copy(), np.zeros(2), np.zeros(2), []
        for rate in RATES:
            g = GRADIENT @ w + decay * w
            mean = 0.9 * mean + 0.1 * g**2
            v = momentum * v + g / (np.sqrt(mean) + 1e-3)
            w = w - rate * v
            path.append(w)
        found = descend(RmsProp(lr=0.1, alpha=0.9, eps=1e-3, momentum=momentum, weight_decay=decay))
        assert np.allclose(found, np.array(path), rtol=1e-10)

    def test_the_defaults_are_the_papers(self) -> None:
        adam, sgd = Adam(lr=0.001), Sgd(lr=0.1)
        assert (adam.betas, adam.eps, adam.weight_decay) == ((0.9, 0.999), 1e-8, 0.0)
        assert (AdamW(lr=0.001).betas, AdamW(lr=0.001).weight_decay) == ((0.9, 0.999), 0.01)
        assert (sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.0, False, 0.0)

    def test_nesterov_without_momentum_is_refused(self) -> None:
        with pytest.raises(Problem, match="nesterov without momentum"):
            catalog.parse("optimizers", {"kind": "sgd", "lr": 0.1, "nesterov": True})
