"""Restarts and plateaus against torch's own schedulers, and refinements that change the rate; see test_refinements."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from experiments.options import Schedule
from experiments.refinements.linear_scaling import LinearScaling
from experiments.refinements.warmup import Warmup
from experiments.schedules.cosine_restarts import CosineRestarts
from experiments.schedules.exponential import Exponential
from experiments.schedules.plateau import Plateau
from experiments.schedules.polynomial import Polynomial
from trainer.hooks import Moment, Setup

BASE = 0.3
SETUP = Setup(10, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), batch_size=64, epochs=10)


def of_torch(make: Callable[[torch.optim.Optimizer], Any], epochs: int, *values: float) -> list[float]:
    """The rate in each epoch, where `values` are what a plateau scheduler is told after each."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step(*values[epoch : epoch + 1])
    return rates


def ours(schedule: Schedule, epochs: int, history: list[dict[str, float]] | None = None) -> list[float]:
    known = history or []
    return [BASE * schedule.factor(Moment(float(epoch), epochs, known[:epoch])) for epoch in range(epochs)]


@pytest.mark.parametrize(("period", "multiplier", "floor"), [(5, 1, 0.0), (3, 2, 0.01), (50, 1, 0.0)])
def test_cosine_with_warm_restarts(period: int, multiplier: int, floor: float) -> None:
    epochs = 4 * period
    expected = of_torch(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, period, multiplier, eta_min=BASE * floor), epochs
    )
    schedule = CosineRestarts(period=period, multiplier=multiplier, floor=floor)
    assert ours(schedule, epochs) == pytest.approx(expected)


def test_a_restart_is_sharp_within_an_epoch_and_a_period_may_be_a_fraction() -> None:
    schedule = CosineRestarts(period=2.5)
    factors = [schedule.factor(Moment(epoch, 10)) for epoch in (0.0, 1.25, 2.499999, 2.5, 5.0)]
    assert factors == pytest.approx([1.0, 0.5, 0.0, 1.0, 1.0], abs=1e-5)


@pytest.mark.parametrize("multiplier", [1.0, 1.1, 2.0])
@pytest.mark.parametrize("period", [0.2, 0.7, 1.1, 2.5, 3.3])
def test_every_restart_is_at_the_base_rate(period: float, multiplier: float) -> None:
    """Its place is counted in whole cycles, without the rounding of a sum of fractions."""
    schedule, begin, length = CosineRestarts(period=period, multiplier=multiplier), Fraction(0), Fraction(str(period))
    while begin < 100:
        assert schedule.factor(Moment(float(begin), 100)) == pytest.approx(1.0, abs=1e-9)
        assert schedule.factor(Moment(float(begin + length / 2), 100)) == pytest.approx(0.5, abs=1e-6)
        begin, length = begin + length, length * Fraction(str(multiplier))


@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 3.0])
def test_polynomial_decay(power: float) -> None:
    expected = of_torch(lambda o: lr_scheduler.PolynomialLR(o, total_iters=12, power=power), 12)
    assert ours(Polynomial(power=power), 12) == pytest.approx(expected)


def test_a_line_falls_to_its_floor_within_epochs() -> None:
    schedule = Polynomial(floor=0.2)
    assert [schedule.factor(Moment(epoch, 10)) for epoch in (0.0, 2.5, 5.0, 9.75)] == pytest.approx([1, 0.8, 0.6, 0.22])


def test_exponential_decay() -> None:
    expected = of_torch(lambda o: lr_scheduler.ExponentialLR(o, 0.9), 12)
    assert ours(Exponential(gamma=0.9), 12) == pytest.approx(expected)


def test_exponential_decay_takes_the_epochs_that_it_is_given() -> None:
    schedule = Exponential(gamma=0.97, every=2.4)
    factors = [schedule.factor(Moment(epoch, 10)) for epoch in (0.0, 1.2, 2.4, 4.8)]
    assert factors == pytest.approx([1.0, math.sqrt(0.97), 0.97, 0.97**2])


class TestPlateau:
    @pytest.mark.parametrize("metric", ["val_loss", "top1"])
    @pytest.mark.parametrize("settings", [{}, {"patience": 0}, {"patience": 2, "cooldown": 3}, {"threshold": 0.05}])
    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_torch_s(self, metric: str, settings: dict[str, Any], seed: int) -> None:
        settings = {"patience": 3, "threshold": 1e-4, "cooldown": 0, **settings}
        generator = np.random.default_rng(seed)
        values = (1.0 / np.sqrt(1 + np.arange(60)) + generator.normal(0, 0.05, 60) + 0.3).tolist()
        if metric == "top1":
            values = [1.0 - value / 2 for value in values]
        mode = "min" if metric == "val_loss" else "max"
        expected = of_torch(
            lambda o: lr_scheduler.ReduceLROnPlateau(o, mode, factor=0.5, eps=0.0, **settings), 60, *values
        )
        history = [{metric: value} for value in values]
        rates = ours(Plateau(metric=metric, gamma=0.5, **settings), 60, history)
        assert rates == pytest.approx(expected)
        assert len(set(rates)) > 2, "the rate fell more than once"

    def test_it_stays_above_the_floor(self) -> None:
        history = [{"val_loss": 1.0}] * 30
        rates = ours(Plateau(patience=0, gamma=0.1, floor=0.01), 30, history)
        assert rates[-1] == pytest.approx(0.01 * BASE)

    def test_a_loss_that_is_not_a_number_is_no_improvement(self) -> None:
        history = [{"val_loss": 1.0}, {"val_loss": math.nan}, {"val_loss": math.nan}, {"val_loss": 0.5}]
        assert ours(Plateau(patience=1, gamma=0.1), 4, history) == pytest.approx([BASE, BASE, BASE, BASE / 10])
        for nothing in (math.nan, math.inf):
            history = [{"val_loss": value} for value in (nothing, 3.0, 2.0, 1.0)]
            assert ours(Plateau(patience=1, gamma=0.1), 4, history) == pytest.approx([BASE] * 4)


class TestWarmup:
    def test_it_rises_in_a_line_at_every_step_and_then_leaves_the_schedule(self) -> None:
        hook = Warmup(epochs=2).build(SETUP)
        factors = [hook.rate(0.5, Moment(epoch, 10)) for epoch in (0.0, 0.5, 1.0, 1.5, 2.0, 7.25)]
        assert factors == pytest.approx([0.0, 0.125, 0.25, 0.375, 0.5, 0.5])

    def test_of_m_steps_the_ith_has_i_mths_of_the_rate(self) -> None:
        """He et al., section 3.1: at batch i, 1 <= i <= m, the rate is i eta / m."""
        hook, steps = Warmup(epochs=2).build(SETUP), 5
        factors = [hook.rate(1.0, Moment(i / steps, 10, step=1 / steps)) for i in range(3 * steps)]
        assert factors == pytest.approx([min(1.0, i / 10) for i in range(1, 3 * steps + 1)])

    def test_it_may_start_above_nothing(self) -> None:
        hook = Warmup(epochs=4, start=0.2).build(SETUP)
        assert [hook.rate(1.0, Moment(epoch, 10)) for epoch in (0.0, 1.0, 4.0)] == pytest.approx([0.2, 0.4, 1.0])


@pytest.mark.parametrize(("batch_size", "expected"), [(64, 0.25), (256, 1.0), (1024, 4.0)])
def test_linear_scaling_multiplies_the_rate_by_the_batch_over_the_reference(batch_size: int, expected: float) -> None:
    setup = Setup(10, 32, (0.0,) * 3, (1.0,) * 3, batch_size=batch_size, epochs=10)
    assert LinearScaling().build(setup).rate(1.0, Moment(3.0, 10)) == expected
