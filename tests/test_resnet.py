"""The ResNet family against timm's networks, the tweaks' definitions and published costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

from experiments import build_architecture, catalog
from experiments.architectures.resnet import Resnet
from experiments.language.validation import Problem
from experiments.options import Architecture
from experiments.training import costs
from trainer.errors import UserError

SMALL: dict[str, Any] = {"kind": "resnet", "block": "bottleneck", "layers": [1, 1, 1, 1], "width": 8, "tweak": "B"}


def resnet(kind: str, tweak: str, **settings: Any) -> Architecture:
    option = catalog.parse("architectures", {"kind": kind, "tweak": tweak, **settings})
    assert isinstance(option, Architecture)
    return option


def build(classes: int = 10, **changed: Any) -> nn.Module:
    """The small network with some settings changed."""
    return build_architecture({**SMALL, **changed}, classes)


def fails(**changed: Any) -> str:
    """The message of building the small network with some settings changed, a single line."""
    with pytest.raises(UserError) as caught:
        build(**changed)
    message = str(caught.value)
    assert "\n" not in message
    return message


def randomised(model: nn.Module) -> nn.Module:
    """In evaluation mode, with no batch norm that passes everything through as a fresh one does."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in [
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ]:
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
    return model.eval()


@torch.inference_mode()
def outputs(model: nn.Module, side: int = 65) -> torch.Tensor:
    # an odd side: paddings and roundings that differ show
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    logits: torch.Tensor = model.eval()(images)
    return logits


class TestAgainstTimm:
    @pytest.mark.parametrize(
        ("kind", "tweak", "name"),
        [
            ("resnet18", "A", "resnet18"),
            ("resnet34", "A", "resnet34"),
            ("resnet26", "B", "resnet26"),
            ("resnet50", "C", "resnet50c"),
            ("resnet50", "D", "resnet50d"),
            ("resnet101", "B", "resnet101"),
            ("resnet18", "D", "resnet18d"),
            ("resnet34", "D", "resnet34d"),
            ("resnext50", "B", "resnext50_32x4d"),
        ],
    )
    def test_the_same_weights_give_the_same_outputs(self, kind: str, tweak: str, name: str) -> None:
        theirs = randomised(timm.create_model(name, num_classes=10))
        ours = resnet(kind, tweak).build(10)
        assert [(key, v.shape) for key, v in ours.named_parameters()] == [
            (key, v.shape) for key, v in theirs.named_parameters()
        ]
        ours.load_state_dict(theirs.state_dict())
        assert torch.equal(outputs(ours), outputs(theirs))

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_model_b_is_timms_resnet50_read_from_a_file(self, suffix: str, tmp_path: Path) -> None:
        theirs = randomised(timm.create_model("resnet50", pretrained=False))
        file = tmp_path / f"weights{suffix}"
        if suffix == ".pth":
            torch.save(theirs.state_dict(), file)
        else:
            save_file(theirs.state_dict(), file)
        ours = resnet("resnet50", "B", weights_file=str(file)).build(1000)
        assert torch.equal(outputs(ours), outputs(theirs))

    def test_model_b_is_torchvisions_too(self) -> None:
        from torchvision.models import resnet50

        theirs = randomised(resnet50(weights=None))
        ours = resnet("resnet50", "B").build(1000)
        ours.load_state_dict(theirs.state_dict())
        assert torch.allclose(outputs(ours), outputs(theirs), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(("kind", "params"), [("resnet152", 60_192_808), ("resnext101", 88_791_336)])
    def test_deep_networks_have_the_published_number_of_parameters(self, kind: str, params: int) -> None:
        assert costs.measure(resnet(kind, "B"), 1000, 224).params == params

    @pytest.mark.parametrize("tweak", ["A", "D"])
    def test_weights_are_drawn_as_timm_draws_them(self, tweak: str) -> None:
        torch.manual_seed(4)
        theirs: Any = ResNet(
            Bottleneck,  # type: ignore[arg-type]
            (1, 1, 1, 1),
            num_classes=10,
            channels=(8, 16, 32, 64),
            stem_width=4,
            stem_type="deep",
            avg_down=tweak == "D",
            zero_init_last=False,
        )
        if tweak == "A":
            theirs.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(theirs.conv1.weight, mode="fan_out", nonlinearity="relu")
        state = torch.get_rng_state()
        torch.manual_seed(4)
        ours = build(tweak=tweak)
        assert torch.equal(torch.get_rng_state(), state)
        for (name, one), (other_name, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert name == other_name
            assert torch.equal(one, other), name


def strides(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(module.stride) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}


class TestTweaks:
    def test_a_differs_from_b_in_where_the_strides_sit_and_in_nothing_else(self) -> None:
        with torch.device("meta"):
            a, b = resnet("resnet50", "A").build(10), resnet("resnet50", "B").build(10)
        assert [(key, v.shape) for key, v in a.state_dict().items()] == [
            (key, v.shape) for key, v in b.state_dict().items()
        ]
        of_a, of_b = strides(a), strides(b)
        moved = {name: (of_a[name], of_b[name]) for name in of_b if of_a[name] != of_b[name]}
        assert moved == {
            f"layer{stage}.0.{convolution}": change
            for stage in (2, 3, 4)
            for convolution, change in [("conv1", ((2, 2), (1, 1))), ("conv2", ((1, 1), (2, 2)))]
        }

        def without_strides(model: nn.Module) -> list[str]:
            return [repr(m).replace("stride=(2, 2)", "").replace("stride=(1, 1)", "") for m in model.modules()]

        assert without_strides(a) == without_strides(b)

    def test_a_gives_other_outputs_than_b_with_the_same_weights(self) -> None:
        a, b = build(tweak="A"), randomised(build(tweak="B"))
        a.load_state_dict(b.state_dict())
        assert outputs(a).shape == outputs(b).shape == (2, 10)
        assert not torch.allclose(outputs(a), outputs(b), rtol=0.01)

    def test_c_has_a_stem_of_three_convolutions(self) -> None:
        stem = [m for m in build(tweak="C", width=64).get_submodule("conv1") if isinstance(m, nn.Conv2d)]
        assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in stem] == [
            (3, 32, 3, 2),
            (32, 32, 3, 1),
            (32, 64, 3, 1),
        ]

    @pytest.mark.parametrize("stage", [2, 3, 4])
    def test_d_averages_before_its_shortcut_convolution(self, stage: int) -> None:
        c = build(tweak="C").get_submodule(f"layer{stage}.0.downsample")
        d = build(tweak="D").get_submodule(f"layer{stage}.0.downsample")
        assert [m.stride for m in c if isinstance(m, nn.Conv2d)] == [(2, 2)]
        assert [m.stride for m in d if isinstance(m, nn.Conv2d)] == [(1, 1)]
        pool = d[0]
        assert isinstance(pool, nn.AvgPool2d)
        assert (pool.kernel_size, pool.stride) == (2, 2)

    def test_b_with_basic_blocks_is_refused(self) -> None:
        with pytest.raises(Problem, match="B moves a stride inside a bottleneck"):
            resnet("resnet18", "B")

    @pytest.mark.parametrize("block", ["basic", "bottleneck"])
    def test_zero_gamma_is_off_unless_asked(self, block: str) -> None:
        last = "bn2" if block == "basic" else "bn3"
        for zero_gamma in (None, False, True):
            settings = {} if zero_gamma is None else {"zero_gamma": zero_gamma}
            model = build(block=block, tweak="D", layers=[1, 2, 1, 1], **settings)
            norms = {name: m.weight for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
            for name, weight in norms.items():
                expected = 0.0 if zero_gamma and name.endswith(last) and name.startswith("layer") else 1.0
                assert torch.equal(weight, torch.full_like(weight, expected)), name
            assert sum(name.startswith("layer") and name.endswith(last) for name in norms) == 5

    def test_convolutions_are_drawn_by_he_initialisation(self) -> None:
        torch.manual_seed(0)
        for tweak in "AD":
            for name, module in build(tweak=tweak, width=32).named_modules():
                if isinstance(module, nn.Conv2d):
                    fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                    assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), name


class TestShape:
    @pytest.mark.parametrize("tweak", ["A", "B", "C", "D"])
    @pytest.mark.parametrize("width", [8, 32, 64])
    def test_the_width_is_that_of_the_stem_and_of_the_first_stage(self, width: int, tweak: str) -> None:
        with torch.device("meta"):
            model = build(tweak=tweak, width=width)
        assert model.get_parameter("bn1.weight").shape == (width,)
        for stage in range(4):
            assert model.get_submodule(f"layer{stage + 1}.0.conv2").out_channels == width * 2**stage
        assert model.get_submodule("fc").in_features == width * 8 * 4

    @pytest.mark.parametrize("block", ["basic", "bottleneck"])
    def test_layers_are_free(self, block: str) -> None:
        model = build(block=block, layers=[1, 3, 2, 1], tweak="A", classes=6)
        assert [len(model.get_submodule(f"layer{stage}")) for stage in (1, 2, 3, 4)] == [1, 3, 2, 1]
        assert outputs(model, side=33).shape == (2, 6)

    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            ([], "got [], expected a list of 4 items"),
            ([2, 2, 2], "got [2, 2, 2], expected a list of 4 items"),
            ([2, 2, 2, 2, 2], "got [2, 2, 2, 2, 2], expected a list of at most 4 items"),
            ([2, 0, 2, 2], "got 0, expected greater than or equal to 1"),
        ],
    )
    def test_layers_are_four_positive_numbers(self, layers: list[int], expected: str) -> None:
        message = fails(layers=layers)
        assert message.startswith("architecture.layers")
        assert message.endswith(expected)

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"width": 9}, "got width 9, expected an even one: a deep stem halves it"),
            ({"stem_width": 9}, "got stem_width 9, expected an even one: a deep stem halves it"),
            (
                {"cardinality": 32, "base_width": 4},
                "got width 8 with base_width 4, expected a width of at least 16: "
                "a group of the first stage has width * base_width / 64 channels",
            ),
            (
                {"cardinality": 2, "block": "basic", "tweak": "A"},
                "got cardinality 2 and base_width 64 with basic blocks, expected bottlenecks: "
                "they have the grouped convolutions",
            ),
        ],
    )
    def test_widths_that_can_not_be(self, changed: dict[str, Any], expected: str) -> None:
        assert fails(**changed) == f"architecture: {expected}"

    def test_new_settings_leave_the_identity_as_it_was(self) -> None:
        identity = {"kind": "resnet", "block": "bottleneck", "layers": [3, 4, 6, 3], "tweak": "A"}
        assert resnet("resnet50", "A").identity() == identity

    @pytest.mark.parametrize("tweak", ["A", "B", "C", "D"])
    def test_groups_at_a_small_width(self, tweak: str) -> None:
        model = build(tweak=tweak, width=16, cardinality=32, base_width=4)
        for stage in range(4):
            convolution: Any = model.get_submodule(f"layer{stage + 1}.0.conv2")
            assert (convolution.groups, convolution.out_channels) == (32, 32 * 2**stage)
        assert outputs(model).shape == (2, 10)


SHAPES = [("basic", "A"), ("basic", "C"), ("basic", "D"), *(("bottleneck", tweak) for tweak in "ABCD")]


def shapes(model: nn.Module, names: tuple[str, ...], side: int) -> list[tuple[int, ...]]:
    """[C, H, W] of what the modules give for an image."""
    found: list[tuple[int, ...]] = []
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output: found.append(tuple(output.shape[1:]))
        )
    outputs(model, side)
    return found


class TestStem:
    @pytest.mark.parametrize(("block", "tweak"), SHAPES)
    def test_its_width_is_free(self, block: str, tweak: str) -> None:
        model = build(block=block, tweak=tweak, stem_width=20)
        wide = 8 if block == "basic" else 32
        assert shapes(model, ("bn1", "layer1"), 64) == [(20, 32, 32), (wide, 16, 16)]

    @pytest.mark.parametrize(("block", "tweak"), SHAPES)
    @pytest.mark.parametrize("stem_width", [None, 32])
    def test_without_its_pooling_the_first_stage_halves(self, block: str, tweak: str, stem_width: int | None) -> None:
        model = build(block=block, tweak=tweak, stem_pool=False, stem_width=stem_width)
        assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())
        found = shapes(model, ("act1", "layer1", "layer2", "layer3", "layer4"), 96)
        assert [side for _, side, _ in found[-5:]] == [48, 24, 12, 6, 3]

    @pytest.mark.parametrize(("block", "tweak"), SHAPES)
    def test_without_its_pooling_the_first_stage_downsamples_as_the_others_do(self, block: str, tweak: str) -> None:
        model = build(block=block, tweak=tweak, stem_pool=False)
        first, second = model.get_submodule("layer1.0"), model.get_submodule("layer2.0")
        assert strides(first) == strides(second)
        assert [type(module) for module in first.modules()] == [type(module) for module in second.modules()]
        torch.manual_seed(0)
        wide: Any = build(block=block, tweak=tweak, stem_pool=False, width=64).get_submodule("layer1.0.downsample")
        (weight,) = (module.weight for module in wide if isinstance(module, nn.Conv2d))
        assert float(weight.detach().std()) == pytest.approx((2 / weight.shape[0]) ** 0.5, rel=0.1)


def counted_by_hooks(model: nn.Module, side: int) -> int:
    """Multiply-accumulates of one image, added up layer by layer from what goes in and out."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * (module.in_channels // module.groups) * module.kernel_size[0] ** 2
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    handles = [module.register_forward_hook(count) for module in model.modules()]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, side, side))
    for handle in handles:
        handle.remove()
    return total


class TestCost:
    @pytest.mark.parametrize(("tweak", "giga"), [("A", 3.86), ("B", 4.09), ("C", 4.33), ("D", 4.33)])
    def test_multiply_accumulates_of_resnet50_are_those_published(self, tweak: str, giga: float) -> None:
        assert round(costs.measure(resnet("resnet50", tweak), 1000, 224).macs / 1e9, 2) == giga

    @pytest.mark.parametrize("tweak", ["A", "B", "C", "D"])
    def test_counting_layer_by_layer_gives_the_same(self, tweak: str) -> None:
        option = catalog.parse("architectures", {**SMALL, "tweak": tweak})
        assert isinstance(option, Architecture)
        model = option.build(10)
        cost = costs.measure(option, 10, 49)
        assert cost.macs == counted_by_hooks(model, 49)
        assert cost.params == sum(p.numel() for p in model.parameters())

    def test_parameters_of_model_b_are_25_6_million(self) -> None:
        assert costs.measure(resnet("resnet50", "B"), 1000, 32).params == 25_557_032

    def test_a_network_larger_than_any_memory_is_measured(self) -> None:
        before = torch.get_rng_state()
        costs.measure(resnet("resnet18", "A", width=8), 10, 64)
        assert torch.equal(torch.get_rng_state(), before), "weights were drawn"
        huge = costs.measure(resnet("resnet152", "B", width=64 * 256), 10, 64)
        assert huge.params * 4 > 1e12
        assert torch.zeros(1).device.type == "cpu"

    def test_pretrained_weights_are_not_fetched_to_measure(self) -> None:
        plain = costs.measure(resnet("resnet18", "A"), 10, 32)
        assert costs.measure(resnet("resnet18", "A", weights="resnet18.a1_in1k"), 10, 32) == plain

    def test_a_cost_is_measured_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
        option, other = (catalog.parse("architectures", {**SMALL, "width": width}) for width in (8, 10))
        assert isinstance(option, Resnet)
        assert isinstance(other, Resnet)
        first = costs.cost_of(option, 10, 32)
        measured: list[Architecture] = []
        original = costs.measure

        def measure(architecture: Architecture, num_classes: int, image_size: int) -> costs.Cost:
            measured.append(architecture)
            return original(architecture, num_classes, image_size)

        monkeypatch.setattr(costs, "measure", measure)
        assert costs.cost_of(option, 10, 32) == first
        assert measured == []
        assert costs.cost_of(option, 10, 64) != first
        assert costs.cost_of(option, 11, 32) != first
        assert costs.cost_of(other, 10, 32) != first
        assert len(measured) == 3
