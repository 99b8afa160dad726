"""Heads against the layers that their documents print, with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from experiments import build_architecture, catalog
from experiments.language.validation import Problem
from experiments.options import Head

FEATURES, CLASSES = 24, 5
SMALL = {"kind": "resnet", "block": "basic", "layers": [1, 1, 1, 1], "width": 4, "tweak": "A"}


def head(kind: str, **settings: Any) -> Head:
    option = catalog.parse("heads", {"kind": kind, **settings})
    assert isinstance(option, Head)
    return option


def equals(ours: nn.Module, theirs: nn.Module) -> bool:
    """Whether both give the same in evaluation and, under one seed, in training, once they have the same weights."""
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.data.uniform_(-1, 1, generator=generator)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    features = torch.randn(8, FEATURES, generator=generator)
    found = []
    for mode in (True, False):
        for module in (ours, theirs):
            torch.manual_seed(1)
            found.append(module.train(mode)(features))
    assert found[0].shape == (8, CLASSES)
    return torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class TestAgainstTheDocuments:
    def test_bottleneck(self) -> None:
        theirs = nn.Sequential(
            nn.Dropout(0.3),
            nn.Linear(FEATURES, 1024),
            nn.ReLU(),
            nn.BatchNorm1d(1024),
            nn.Dropout(0.3),
            nn.Linear(1024, CLASSES),
        )
        assert equals(head("bottleneck").build(FEATURES, CLASSES), theirs)

    def test_mlp(self) -> None:
        theirs = nn.Sequential(
            nn.Linear(FEATURES, 1024),
            nn.BatchNorm1d(1024),
            nn.SiLU(),
            nn.Dropout(p=0.3),
            nn.Linear(1024, 512),
            nn.BatchNorm1d(512),
            nn.SiLU(),
            nn.Dropout(p=0.3),
            nn.Linear(512, CLASSES),
        )
        assert equals(head("mlp").build(FEATURES, CLASSES), theirs)

    def test_mlp_of_one_layer_with_relu(self) -> None:
        theirs = nn.Sequential(
            nn.Linear(FEATURES, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, CLASSES)
        )
        assert equals(head("mlp", hidden=[7], activation="relu", dropout=0.5).build(FEATURES, CLASSES), theirs)

    def test_linear_with_layer_norm_and_dropout(self) -> None:
        theirs = nn.Sequential(nn.LayerNorm(FEATURES), nn.Dropout(0.3), nn.Linear(FEATURES, CLASSES))
        assert equals(head("linear", norm="layer", dropout=0.3).build(FEATURES, CLASSES), theirs)

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("linear", 2048 * 100 + 100),
            ("bottleneck", 2048 * 1024 + 1024 + 2 * 1024 + 1024 * 100 + 100),
            ("mlp", 2048 * 1024 + 3 * 1024 + 1024 * 512 + 3 * 512 + 512 * 100 + 100),
        ],
    )
    def test_parameters_behind_a_resnet50(self, kind: str, expected: int) -> None:
        assert count(head(kind).build(2048, 100)) == expected


class TestInTheNetwork:
    @pytest.mark.parametrize("kind", sorted(catalog.options("heads")))
    def test_every_head_trains_behind_a_network(self, kind: str) -> None:
        settings = {"dropout": 0.1} if kind == "linear" else {}
        model = build_architecture({**SMALL, "head": {"kind": kind, **settings}}, CLASSES)
        logits = model(torch.randn(4, 3, 32, 32))
        assert logits.shape == (4, CLASSES)
        logits.square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.get_submodule("fc").parameters())

    def test_the_default_is_timms_own_classifier(self) -> None:
        for settings in ({}, {"head": {"kind": "linear"}}):
            assert type(build_architecture({**SMALL, **settings}, CLASSES).get_submodule("fc")) is nn.Linear

    def test_the_head_takes_the_classifiers_place_and_its_name(self) -> None:
        model = build_architecture({**SMALL, "head": {"kind": "mlp", "hidden": [6]}}, CLASSES)
        names = [name for name, _ in model.named_parameters() if name.startswith("fc.")]
        assert names == [f"fc.1.{layer}.{name}" for layer in (0, 1, 4) for name in ("weight", "bias")]

    @pytest.mark.parametrize(
        ("settings", "path", "message"),
        [
            ({"kind": "mlp", "hidden": []}, ("hidden",), "got [], expected a list of at least 1 item"),
            ({"kind": "mlp", "hidden": [8, 0]}, ("hidden", 1), "got 0, expected greater than 0"),
            ({"kind": "mlp", "activation": "tanh"}, ("activation",), "got \"tanh\", expected 'silu' or 'relu'"),
            ({"kind": "bottleneck", "dropout": 1.0}, ("dropout",), "got 1.0, expected less than 1"),
            ({"kind": "linear", "norm": "batch"}, ("norm",), "got \"batch\", expected 'none' or 'layer'"),
        ],
    )
    def test_what_is_refused(self, settings: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
        with pytest.raises(Problem) as caught:
            catalog.parse("architectures", {**SMALL, "head": settings})
        assert (caught.value.path, caught.value.message) == (("head", *path), message)
