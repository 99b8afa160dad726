"""The criteria besides cross-entropy against formulas written out, torch's and timm's; see also test_selection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from batches import a_setup
from timm.loss import BinaryCrossEntropy as TimmBinaryCrossEntropy
from torch.nn import functional

from experiments import catalog
from experiments.language.validation import Problem
from experiments.losses.cross_entropy import CrossEntropy
from experiments.options import Loss

CLASSES, COUNTS = 5, (40, 10, 30, 15, 5)
SETUP = replace(a_setup(num_classes=CLASSES), class_counts=COUNTS)
LOGITS = torch.randn(16, CLASSES, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.arange(16) % CLASSES
MIXED = 0.7 * functional.one_hot(LABELS, CLASSES) + 0.3 * functional.one_hot(LABELS.roll(3), CLASSES)


def value(kind: str, targets: torch.Tensor, **settings: Any) -> float:
    option = catalog.parse("losses", {"kind": kind, **settings})
    assert isinstance(option, Loss)
    return float(option.build(SETUP)(LOGITS, targets))


class TestBinaryCrossEntropy:
    @pytest.mark.parametrize("over_classes", ["mean", "sum"])
    @pytest.mark.parametrize("threshold", [None, 0.2, 0.5])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_it_is_timms(self, smoothing: float, threshold: float | None, over_classes: str) -> None:
        """timm takes probabilities as they are, so that they are smoothed by whoever mixes them."""
        theirs = TimmBinaryCrossEntropy(
            smoothing=smoothing, target_threshold=threshold, sum_classes=over_classes == "sum"
        )
        settings = {"label_smoothing": smoothing, "threshold": threshold, "over_classes": over_classes}
        found = value("binary_cross_entropy", LABELS, **settings)
        assert found == pytest.approx(float(theirs(LOGITS, LABELS)), rel=1e-6)
        smoothed = (1 - smoothing) * MIXED + smoothing / CLASSES
        found = value("binary_cross_entropy", MIXED, **settings)
        assert found == pytest.approx(float(theirs(LOGITS, smoothed)), rel=1e-6)

    def test_it_is_the_sum_of_a_decision_for_each_class(self) -> None:
        p = 1 / (1 + np.exp(-LOGITS.double().numpy()))
        t = functional.one_hot(LABELS, CLASSES).numpy()
        each = -(t * np.log(p) + (1 - t) * np.log(1 - p))
        assert value("binary_cross_entropy", LABELS) == pytest.approx(each.mean(), rel=1e-5)
        assert value("binary_cross_entropy", LABELS, over_classes="sum") == pytest.approx(each.sum(1).mean(), rel=1e-5)

    def test_a_threshold_of_one_would_leave_no_class(self) -> None:
        with pytest.raises(Problem, match=r"got 1\.0, expected less than 1"):
            value("binary_cross_entropy", LABELS, threshold=1.0)


class TestFocal:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
    def test_it_is_equation_5_of_each_image(self, gamma: float, weighted: bool) -> None:
        logits = LOGITS.double().numpy()
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        weights = np.array([100 / (CLASSES * n) if weighted else 1.0 for n in COUNTS])
        total = parts = 0.0
        for image, label in enumerate(LABELS.tolist()):
            own = p[image, label]
            total += weights[label] * (1 - own) ** gamma * -np.log(own)
            parts += weights[label]
        found = value("focal", LABELS, gamma=gamma, class_weights="balanced" if weighted else "none")
        assert found == pytest.approx(total / parts, rel=1e-5)

    def test_a_mixed_image_counts_by_its_parts(self) -> None:
        both = [value("focal", labels) for labels in (LABELS, LABELS.roll(3))]
        assert value("focal", MIXED) == pytest.approx(0.7 * both[0] + 0.3 * both[1], rel=1e-5)

    @pytest.mark.parametrize("weights", ["none", "balanced"])
    @pytest.mark.parametrize("targets", [LABELS, MIXED], ids=["labels", "mixed"])
    def test_without_gamma_it_is_cross_entropy(self, targets: torch.Tensor, weights: str) -> None:
        plain = CrossEntropy(class_weights=weights).build(SETUP)
        found = value("focal", targets, gamma=0, class_weights=weights)
        assert found == pytest.approx(float(plain(LOGITS, targets)), rel=1e-6)

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
    def test_an_image_that_is_certain_has_a_gradient_of_zero(self, gamma: float) -> None:
        logits = torch.tensor([[200.0, 0.0], [30.0, 0.0], [-200.0, 0.0]], requires_grad=True)
        option = catalog.parse("losses", {"kind": "focal", "gamma": gamma})
        assert isinstance(option, Loss)
        option.build(a_setup(num_classes=2))(logits, torch.zeros(3, dtype=torch.int64)).backward()
        assert logits.grad is not None
        assert logits.grad[0].tolist() == [0.0, 0.0]
        assert logits.grad.isfinite().all()
        assert logits.grad[2].abs().min() > 0.1
