"""The ResNet family against timm's networks, the tweaks' definitions and published costs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from experiments import build_architecture, catalog, costs
from experiments.architectures.resnet import Resnet
from experiments.options import Architecture
from experiments.validation import Problem
from trainer.errors import UserError

SMALL = {"kind": "resnet", "block": "bottleneck", "layers": [1, 1, 1, 1], "width": 8, "tweak": "B"}


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

    def test_152_layers_have_the_published_number_of_parameters(self) -> None:
        assert costs.measure(resnet("resnet152", "B"), 1000, 224).params == 60_192_808


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
            ([2, 0, 2, 2], "got 0, expected greater than 0"),
        ],
    )
    def test_layers_are_four_positive_numbers(self, layers: list[int], expected: str) -> None:
        message = fails(layers=layers)
        assert message.startswith("architecture.layers")
        assert message.endswith(expected)

    def test_an_odd_width_is_refused(self) -> None:
        assert "got width 9" in fails(width=9)


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


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


class TestPretrained:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Weights of the small network for ten classes."""
        file = tmp_path / "weights.pth"
        torch.save(randomised(build()).state_dict(), file)
        return file

    def test_a_head_of_another_number_of_classes_stays_as_drawn(self, file: Path) -> None:
        torch.manual_seed(3)
        drawn = build(classes=4).state_dict()
        torch.manual_seed(3)
        loaded = build(classes=4, weights_file=str(file)).state_dict()
        saved = torch.load(file)
        for name, tensor in loaded.items():
            assert torch.equal(tensor, (drawn if name.startswith("fc.") else saved)[name]), name
        assert not torch.equal(drawn["conv1.weight"], saved["conv1.weight"])

    def test_a_head_that_fits_is_loaded(self, file: Path) -> None:
        saved = torch.load(file)
        for name, tensor in build(weights_file=str(file)).state_dict().items():
            assert torch.equal(tensor, saved[name]), name

    def test_a_file_without_a_head_or_without_batch_counts_fits(self, file: Path) -> None:
        saved = torch.load(file)
        kept = {k: v for k, v in saved.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
        torch.save(kept, file)
        loaded = build(weights_file=str(file)).state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in kept.items())

    def test_a_state_dict_under_the_name_model_is_found(self, file: Path) -> None:
        saved = torch.load(file)
        torch.save({"model": saved, "epoch": 90}, file)
        assert torch.equal(build(weights_file=str(file)).state_dict()["conv1.weight"], saved["conv1.weight"])

    @pytest.mark.parametrize(
        ("changed", "first"),
        [({"width": 16}, "conv1.weight"), ({"layers": [2, 1, 1, 1]}, "layer1.1"), ({"tweak": "C"}, "conv1.0.weight")],
    )
    def test_a_file_of_another_network_is_refused(self, changed: dict[str, Any], first: str, file: Path) -> None:
        message = fails(weights_file=str(file), **changed)
        assert f"weights {file}: they are of another network; first difference at '{first}" in message

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        assert fails(weights_file=str(tmp_path / "none.pth")).endswith(
            f"weights_file {tmp_path}/none.pth: no such file"
        )

    def test_other_content_under_one_name_is_another_trial(self, tmp_path: Path) -> None:
        identities = []
        for content in (b"one", b"two"):
            (tmp_path / "weights.pth").write_bytes(content)
            option = resnet("resnet18", "A", weights_file=str(tmp_path / "weights.pth"))
            identities.append(str(option.identity()))
        assert identities[0] != identities[1]

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_file_that_holds_no_weights_is_refused(self, suffix: str, tmp_path: Path) -> None:
        file = tmp_path / f"notes{suffix}"
        file.write_text("Not weights.\nReally.")
        assert f"weights_file {file}: not a state dict" in fails(weights_file=str(file))

    def test_another_object_than_a_state_dict_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "list.pth"
        torch.save([1, 2], file)
        assert "got list, expected a state dict" in fails(weights_file=str(file))

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        marker, file = tmp_path / "was here", tmp_path / "evil.pth"
        pickle.loads(pickle.dumps(Payload(marker))).close()
        assert marker.exists(), "the payload works where it is let"
        marker.unlink()
        torch.save({"conv1.weight": Payload(marker)}, file)
        assert f"weights_file {file}: not a state dict that can be read safely" in fails(weights_file=str(file))
        assert not marker.exists()

    def test_both_sources_at_once_are_refused(self, file: Path) -> None:
        assert "both weights and weights_file" in fails(weights="resnet50", weights_file=str(file))

    def test_weights_of_a_timm_name_are_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        theirs = randomised(build())
        asked: list[tuple[Any, ...]] = []

        def create_model(*names: str, **settings: Any) -> nn.Module:
            asked.append((*names, settings))
            return theirs

        monkeypatch.setattr(timm, "create_model", create_model)
        ours = build(weights="resnet26.bt_in1k")
        assert asked == [("resnet26.bt_in1k", {"pretrained": True})]
        assert torch.equal(outputs(ours), outputs(theirs))

    def test_without_network_one_line_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*names: str, **settings: Any) -> nn.Module:
            raise OSError("[Errno -2] Name or service\nnot known")

        monkeypatch.setattr(timm, "create_model", away)
        message = fails(weights="resnet50.a1_in1k")
        assert message.startswith("weights resnet50.a1_in1k: timm could not fetch them (OSError)")
        assert "set architecture.weights_file to it" in message

    @pytest.mark.parametrize(
        ("name", "meant"),
        [("resnett50", "resnet50"), ("resnet50.a1_in1", "resnet50.a1_in1k"), ("resnet18.tv_in", "resnet18.tv_in1k")],
    )
    def test_an_unknown_name_brings_the_nearest(self, name: str, meant: str) -> None:
        assert f"no weights {name!r}; did you mean {meant!r}?" in fails(weights=name)

    def test_the_identity_holds_the_files_content_and_not_its_folder(self, tmp_path: Path) -> None:
        options = []
        for folder in (tmp_path / "one", tmp_path / "other"):
            folder.mkdir()
            (folder / "w.pth").write_bytes(b"weights")
            options.append(resnet("resnet50", "B", weights_file=str(folder / "w.pth")))
        assert options[0].identity() == options[1].identity()
        assert options[0].identity() != resnet("resnet50", "B").identity()
