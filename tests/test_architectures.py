"""Staged networks: blocks in their places, frozen parts, what timm has of them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from test_resnet import SMALL, outputs, randomised
from timm.layers.drop import DropPath
from torch import nn

from experiments import build_architecture, catalog
from experiments.architectures import _timm_facts
from experiments.architectures.resnet import Resnet
from experiments.language.validation import Problem
from experiments.options import Architecture
from experiments.recipe import Recipe, parse_recipe
from experiments.training import costs
from trainer.errors import UserError

V2: dict[str, Any] = {"kind": "resnetv2", "layers": [1, 1, 1, 1], "width": 16}
BASIC: dict[str, Any] = {**SMALL, "block": "basic", "tweak": "A"}
TIMM: dict[str, Any] = {"kind": "timm", "name": "test_resnet"}
STAGED: dict[str, dict[str, Any]] = {"basic": BASIC, "bottleneck": SMALL, "resnetv2": V2, "timm": TIMM}
# what CoT needs: a multiple of 8 channels where the 3x3 convolution is
KINDS = ("cbam", "convnext", "cot", "gc", "se")


def parse(**settings: Any) -> Architecture:
    option = catalog.parse("architectures", settings)
    assert isinstance(option, Architecture)
    return option


def recipe(side: int = 32, **architecture: Any) -> Recipe:
    return parse_recipe(
        {
            "dataset": {"kind": "digits", "image_size": side},
            "architecture": architecture,
            "optimizer": {"kind": "sgd", "lr": 0.1},
            "epochs": 1,
            "batch_size": 8,
        }
    )


def stages(model: nn.Module) -> list[nn.Module]:
    names = [f"layer{n}" for n in (1, 2, 3, 4)] if hasattr(model, "layer1") else [f"stages.{n}" for n in range(4)]
    return [model.get_submodule(name) for name in names]


def params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class TestResnetV2:
    @pytest.mark.parametrize(("settings", "name"), [({}, "resnetv2_50"), ({"norm": "group_ws"}, "resnetv2_50x1_bit")])
    def test_it_is_timms(self, settings: dict[str, Any], name: str) -> None:
        theirs = randomised(timm.create_model(name, num_classes=10))
        ours = parse(kind="resnet50v2", **settings).build(10)
        assert [(key, v.shape) for key, v in ours.state_dict().items()] == [
            (key, v.shape) for key, v in theirs.state_dict().items()
        ]
        ours.load_state_dict(theirs.state_dict())
        assert torch.equal(outputs(ours), outputs(theirs))

    def test_101_layers_are_timms(self) -> None:
        with torch.device("meta"):
            ours, theirs = parse(kind="resnet101v2").build(1000), timm.create_model("resnetv2_101")
        assert [(key, v.shape) for key, v in ours.state_dict().items()] == [
            (key, v.shape) for key, v in theirs.state_dict().items()
        ]

    @pytest.mark.parametrize(("norm", "width"), list(product(("batch", "group_ws"), (8, 16, 24, 32))))
    def test_small_ones_work_at_32_pixels(self, norm: str, width: int) -> None:
        model = build_architecture({**V2, "norm": norm, "width": width}, 7)
        assert outputs(model, side=32).shape == (2, 7)
        assert [stage.get_submodule("blocks.0.conv3").out_channels for stage in stages(model)] == [
            4 * width * 2**n for n in range(4)
        ]
        assert model.get_submodule("stem.conv").out_channels == width

    def test_a_head_stands_in_the_place_of_its_convolution(self) -> None:
        model = build_architecture({**V2, "head": {"kind": "linear", "norm": "layer", "dropout": 0.3}}, 7)
        assert outputs(model, side=32).shape == (2, 7)
        assert [type(module) for module in model.get_submodule("head.fc.1").children()] == [
            nn.LayerNorm,
            nn.Dropout,
            nn.Linear,
        ]


class TestTimm:
    @pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "regnetx_002", "test_efficientnet"])
    def test_it_is_timms_with_the_same_weights(self, name: str) -> None:
        theirs = randomised(timm.create_model(name, num_classes=9))
        ours = parse(kind="timm", name=name).build(9)
        ours.load_state_dict(theirs.state_dict())
        assert torch.equal(outputs(ours, 160), outputs(theirs, 160))

    def test_nothing_is_dropped_unless_asked(self) -> None:
        theirs = timm.create_model("swin_tiny_patch4_window7_224")
        assert any(isinstance(module, DropPath) and module.drop_prob for module in theirs.modules())
        ours = parse(kind="timm", name="swin_tiny_patch4_window7_224").build(10)
        for module in ours.modules():
            assert not getattr(module, "drop_prob", 0.0)
            assert not getattr(module, "drop_rate", 0.0)
            assert not isinstance(module, nn.Dropout) or module.p == 0

    @pytest.mark.parametrize(
        ("name", "arguments", "size"),
        [
            ("test_vit", {"img_size": 32, "patch_size": 4, "act_layer": "relu"}, 32),
            ("swin_tiny_patch4_window7_224", {"img_size": 64}, 64),
            ("test_resnet", {"act_layer": "silu", "stem_width": 16, "block_args": {"attn_layer": "se"}}, 32),
        ],
    )
    def test_its_arguments_are_timms(self, name: str, arguments: dict[str, Any], size: int) -> None:
        torch.manual_seed(0)
        theirs = randomised(timm.create_model(name, num_classes=9, **arguments))
        ours = recipe(kind="timm", name=name, arguments=arguments, side=size).architecture
        model = ours.build(9)
        model.load_state_dict(theirs.state_dict())
        assert torch.equal(outputs(model, size), outputs(theirs, size))
        assert "arguments" in ours.identity()
        assert costs.cost_of(ours, 9, size).params == sum(map(torch.numel, theirs.parameters()))

    def test_dropout_that_an_argument_asks_for_stays(self) -> None:
        model = parse(kind="timm", name="test_convnext", arguments={"drop_path_rate": 0.5}).build(10)
        rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
        assert max(filter(None, rates)) == pytest.approx(0.5)

    def test_stages_follow_arguments(self) -> None:
        channels = [8, 16, 24, 40]
        wide = {**TIMM, "arguments": {"channels": channels}, "freeze": ["stem", 1], "blocks": {"se": {"after": [4]}}}
        assert _timm_facts.network("test_resnet", wide["arguments"]).channels[0] == channels[0]
        assert outputs(build_architecture(wide, 10), 32).shape == (2, 10)

    def test_no_norm_starts_at_zero_unless_asked(self) -> None:
        for settings, expected in [({}, 1.0), ({"zero_gamma": True}, 0.0)]:
            model = build_architecture({**TIMM, **settings}, 10)
            for name in ("layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn3", "layer4.0.bn2"):
                weight = model.get_parameter(f"{name}.weight")
                assert torch.equal(weight, torch.full_like(weight, expected)), name

    @pytest.mark.parametrize(
        ("settings", "millions"),
        [
            ({"name": "resnet34"}, 21.3),
            ({"name": "resnet50.a1_in1k"}, 23.7),
            ({"name": "resnetrs101", "head": {"kind": "bottleneck"}}, 63.8),
            ({"name": "resnext50_32x4d", "head": {"kind": "mlp"}, "blocks": {"cbam": {"after": [4]}}}, 26.2),
        ],
    )
    def test_parameters_of_the_documents_networks(self, settings: dict[str, Any], millions: float) -> None:
        assert round(costs.measure(parse(kind="timm", **settings), 100, 224).params / 1e6, 1) == millions

    def test_tokens_that_are_parameters_are_counted_as_well(self) -> None:
        """Their number and gigaMACs at 224 px are timm's, in its results/benchmark files."""
        cost = costs.measure(parse(kind="timm", name="pit_ti_224"), 1000, 224)
        assert (round(cost.params / 1e6, 2), round(cost.macs / 1e9, 1)) == (4.85, 0.7)
        assert costs.measure(parse(kind="timm", name="test_vit3"), 10, 160).macs > 0

    def test_a_plan_asks_timm_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
        asked = recipe(**TIMM, blocks={"se": {"after": [4]}}, weights="test_resnet")
        costs.cost_of(asked.architecture, 10, 32)
        program = (
            "import sys; from experiments.recipe import parse_recipe; from experiments.training.costs import cost_of\n"
            f"cost_of(parse_recipe({asked.as_data()!r}).architecture, 10, 32)\n"
            "assert 'torch' not in sys.modules and 'timm' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parent.parent)

    def test_stages_are_found_by_what_they_give(self) -> None:
        assert _timm_facts.network("test_resnet", {}).channels == (32, 48, 192, 96)
        assert _timm_facts.network("regnetx_002", {}).stages == ("s1", "s2", "s3", "s4")
        assert _timm_facts.network("test_convnext", {}).stages == tuple(f"stages.{n}" for n in range(4))
        for name in ("test_vit", "test_mambaout", "test_efficientnet"):
            assert _timm_facts.network(name, {}).stages == ()


def recorded(model: nn.Module, modules: dict[str, nn.Module], side: int = 64) -> list[tuple[str, tuple[int, ...]]]:
    """Name and output shape [C, H, W] of `modules` in the order in which a forward pass comes to them."""
    found: list[tuple[str, tuple[int, ...]]] = []

    def record(name: str, output: torch.Tensor) -> None:
        found.append((name, tuple(output.shape[1:])))

    for name, module in modules.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: record(name, output))
    outputs(model, side)
    return found


class TestBlocks:
    @pytest.mark.parametrize("network", STAGED)
    def test_after_a_stage_they_stand_by_order_then_kind(self, network: str) -> None:
        blocks = {"se": {"after": [2, 4]}, "gc": {"after": [4], "order": 1}, "cbam": {"after": [4]}}
        model = build_architecture({**STAGED[network], "blocks": blocks}, 5)
        channels = [32, 48, 192, 96] if network == "timm" else [32, 64, 128, 256]
        wide = {"basic": 8, "resnetv2": 64}.get(network)
        channels = [wide * 2**n for n in range(4)] if wide else channels
        second, fourth = stages(model)[1], stages(model)[3]
        assert [name for name, _ in second.named_children()] == ["stage", "se"]
        modules = {f"2.{n}": m for n, m in second.named_children()} | {f"4.{n}": m for n, m in fourth.named_children()}
        assert recorded(model, modules) == [
            ("2.stage", (channels[1], 8, 8)),
            ("2.se", (channels[1], 8, 8)),
            *((f"4.{name}", (channels[3], 2, 2)) for name in ("stage", "cbam", "se", "gc")),
        ]

    @pytest.mark.parametrize("network", ["basic", "bottleneck", "resnetv2"])
    def test_inside_a_stage_each_residual_branch_ends_in_them(self, network: str) -> None:
        settings = {**STAGED[network], "layers": [1, 1, 2, 1]}
        blocks = {"se": {"inside": [3], "order": 1}, "cbam": {"inside": [3]}}
        model = build_architecture({**settings, "blocks": blocks}, 5)
        at = "blocks.{}.conv3" if network == "resnetv2" else "{}.se"
        for number in (0, 1):
            branch = stages(model)[2].get_submodule(at.format(number))
            assert [name for name, _ in branch.named_children()][-2:] == ["cbam", "se"]
        plain = build_architecture(settings, 5)
        added = {name.split(".")[0] for name in set(model.state_dict()) - set(plain.state_dict())}
        assert added == {"stages" if network == "resnetv2" else "layer3"}

    @pytest.mark.parametrize("network", ["basic", "bottleneck", "resnetv2"])
    def test_inside_they_act_on_the_branch_and_not_on_the_shortcut(self, network: str) -> None:
        model = build_architecture({**STAGED[network], "layers": [1, 2, 1, 1], "blocks": {"se": {"inside": [2]}}}, 5)
        for module in model.modules():
            # a gate that is shut: sigmoid of -1000
            if hasattr(module, "fc2"):
                module.get_parameter("fc2.weight").data.zero_()
                module.get_parameter("fc2.bias").data.fill_(-1000.0)
        block = stages(model)[1].get_submodule("blocks.1" if network == "resnetv2" else "1")
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
        outputs(model.eval())
        ((before, behind),) = seen
        assert torch.equal(before, behind)

    def test_what_timm_has_put_into_the_branch_comes_first(self) -> None:
        with torch.device("meta"):
            model = build_architecture({"kind": "timm", "name": "seresnet50", "blocks": {"cbam": {"inside": [1]}}}, 5)
        assert [name for name, _ in model.get_submodule("layer1.0.se").named_children()] == ["own", "cbam"]

    @pytest.mark.parametrize("tweak", "ABCD")
    def test_cot_replaces_the_3x3_convolution_and_pools_where_that_had_a_stride(self, tweak: str) -> None:
        settings = {**SMALL, "tweak": tweak, "layers": [1, 2, 1, 1], "blocks": {"cot": {"inside": [1, 2]}}}
        model = build_architecture(settings, 5)
        names = {
            name: [child for child, _ in model.get_submodule(f"{name}.conv2").named_children()]
            for name in ("layer1.0", "layer2.0", "layer2.1")
        }
        pooled = ["cot"] if tweak == "A" else ["pool", "cot"]
        assert names == {"layer1.0": ["cot"], "layer2.0": pooled, "layer2.1": ["cot"]}
        assert isinstance(model.get_submodule("layer2.0.bn2"), nn.Identity)
        assert isinstance(model.get_submodule("layer2.0.act2"), nn.Identity)
        if tweak != "A":
            pool: Any = model.get_submodule("layer2.0.conv2.pool")
            assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)
        modules = {name: model.get_submodule(name) for name in ("layer1", "layer2")}
        assert recorded(model, modules) == [("layer1", (32, 16, 16)), ("layer2", (64, 8, 8))]

    def test_cot_leaves_the_next_convolutions_pre_activation(self) -> None:
        model = build_architecture({**V2, "blocks": {"cot": {"inside": [2]}}}, 5)
        plain = build_architecture(V2, 5)
        for name in ("norm2", "norm3"):
            of = [type(m.get_submodule(f"stages.1.blocks.0.{name}")) for m in (model, plain)]
            assert of[0] is of[1]
        assert [n for n, _ in model.get_submodule("stages.1.blocks.0.conv2").named_children()] == ["pool", "cot"]

    def test_cotnet_50_has_the_published_size(self) -> None:
        option = parse(kind="resnet50", tweak="B", blocks={"cot": {"inside": [1, 2, 3, 4]}})
        assert round(costs.measure(option, 1000, 224).params / 1e6, 1) == 22.2

    def test_se_resnet_50_has_the_published_size(self) -> None:
        option = parse(kind="resnet50", tweak="B", blocks={"se": {"inside": [1, 2, 3, 4]}})
        assert round(costs.measure(option, 1000, 224).params / 1e6, 1) == 28.1

    @pytest.mark.parametrize(("network", "kind"), list(product(STAGED, KINDS)))
    def test_every_block_trains_in_every_network(self, network: str, kind: str) -> None:
        placed: dict[str, Any] = {"after": [2, 4]}
        if network != "timm" and (kind, network) != ("cot", "basic"):
            placed["inside"] = [1, 3]
        model = build_architecture({**STAGED[network], "blocks": {kind: placed}}, 5)
        assert params(model) > params(build_architecture(STAGED[network], 5))
        torch.manual_seed(0)
        model(torch.randn(2, 3, 64, 64)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    @pytest.mark.parametrize("network", STAGED)
    def test_costs_count_them_and_what_is_frozen(self, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {**STAGED[network], "head": {"kind": "mlp", "hidden": [8]}}
        settings["blocks"] = {kind: {"after": [4]} for kind in KINDS}
        if network in ("bottleneck", "resnetv2"):
            settings["blocks"]["cot"] = {"inside": [3]}
        cost = costs.measure(parse(**settings), 5, 64)
        assert cost.params == params(build_architecture(settings, 5))
        assert costs.measure(parse(**settings, freeze=["stem", 1, 2]), 5, 64) == cost
        assert cost.macs > costs.measure(parse(**STAGED[network]), 5, 64).macs
        state = torch.get_rng_state()
        monkeypatch.setattr(costs, "_SMALL", 0)
        assert costs.measure(parse(**settings), 5, 64) == cost, "on the meta device as on the CPU"
        assert torch.equal(torch.get_rng_state(), state)


class TestFreezing:
    @pytest.mark.parametrize("network", STAGED)
    def test_frozen_parts_stay_and_the_rest_is_trained(self, network: str) -> None:
        settings = {**STAGED[network], "freeze": ["stem", 1, 2]}
        option = recipe(**settings)
        model = option.architecture.build(5)
        before = {name: tensor.clone() for name, tensor in model.named_parameters()}
        groups = option.optimizer.groups(model)
        trained = {id(parameter) for group in groups for parameter in group["params"]}
        assert trained == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
        optimizer = option.optimizer.build(groups)
        model(torch.randn(4, 3, 64, 64)).square().sum().backward()
        optimizer.step()
        stem = ("conv1.", "bn1.", "stem.")
        frozen = (*stem, *(("stages.0.", "stages.1.") if network == "resnetv2" else ("layer1.", "layer2.")))
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[name]) == name.startswith(frozen), name

    @pytest.mark.parametrize("network", STAGED)
    def test_no_graph_is_kept_below_the_first_trained_part(self, network: str) -> None:
        model = build_architecture({**STAGED[network], "freeze": ["stem", 1]}, 5)
        found: list[bool] = []
        for stage in stages(model):
            stage.register_forward_hook(lambda _, inputs, output: found.append(output.requires_grad))
        model(torch.randn(2, 3, 64, 64))
        assert found == [False, True, True, True]

    @pytest.mark.parametrize("network", ["bottleneck", "resnetv2"])
    def test_blocks_in_and_after_a_frozen_stage_are_trained(self, network: str) -> None:
        blocks = {"se": {"inside": [1]}, "gc": {"after": [2]}, "cot": {"inside": [2]}}
        model = build_architecture({**STAGED[network], "freeze": ["stem", 1, 2, 3, 4, "head"], "blocks": blocks}, 5)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert trained
        assert all({"se", "gc", "cot"} & set(name.split(".")) for name in trained)
        assert {kind for kind in blocks if any(kind in name.split(".") for name in trained)} == set(blocks)

    def test_the_norm_behind_the_last_stage_is_frozen_with_it(self) -> None:
        model = build_architecture({**V2, "freeze": ["stem", 1, 2, 3, 4]}, 5)
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert trained == ["head.fc.weight", "head.fc.bias"]

    def test_the_head_that_is_frozen_is_the_one_that_the_network_has(self) -> None:
        model = build_architecture({**SMALL, "head": {"kind": "bottleneck", "hidden": 4}, "freeze": ["head"]}, 5)
        frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        assert frozen == [f"fc.1.{layer}.{name}" for layer in (1, 3, 5) for name in ("weight", "bias")]

    def test_the_same_weights_are_drawn_whatever_is_frozen(self) -> None:
        states = []
        for freeze in ([], ["stem", 3]):
            torch.manual_seed(0)
            states.append(build_architecture({**SMALL, "freeze": freeze}, 5).state_dict())
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


REFUSED: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    (
        {"kind": "resnet50", "tweak": "A", "blocks": {"cbam": {"after": [5]}}},
        ("blocks", "cbam", "after"),
        "resnet50 has the stages 1 to 4, got 5",
    ),
    (
        {"kind": "resnext50", "blocks": {"se": {"inside": [4, 7]}}},
        ("blocks", "se", "inside"),
        "resnext50 has the stages 1 to 4, got 7",
    ),
    (
        {"kind": "resnet50v2", "blocks": {"gc": {"after": [6]}}},
        ("blocks", "gc", "after"),
        "resnet50v2 has the stages 1 to 4, got 6",
    ),
    ({**SMALL, "freeze": [5]}, ("freeze",), "resnet has the stages 1 to 4, got 5"),
    ({**SMALL, "freeze": [1, "stem", 1]}, ("freeze",), "got 1 twice, expected each part once"),
    (
        {**SMALL, "freeze": ["stem", "head", 1, 2, 3, 4]},
        ("freeze",),
        "freezes everything, expected something left to train",
    ),
    (
        {**SMALL, "freeze": ["stm"]},
        ("freeze", 0),
        "got \"stm\", expected 'stem' or 'head' or a whole number; did you mean 'stem'?",
    ),
    ({**SMALL, "freeze": [0]}, ("freeze", 0), "got 0, expected 'stem' or 'head' or greater than 0"),
    (
        {"kind": "resnet34", "tweak": "A", "blocks": {"cot": {"inside": [4]}}},
        ("blocks", "cot", "inside"),
        "got resnet34 with basic blocks, expected bottlenecks: cot takes the place of a bottleneck's 3x3 convolution",
    ),
    (
        {**SMALL, "blocks": {"se": {}}},
        ("blocks", "se"),
        "got neither inside nor after, expected the stages that it is placed in or after",
    ),
    ({**V2, "width": 12}, (), "got width 12, expected a multiple of 8"),
    (
        {"kind": "timm", "name": "vit_tiny_patch16_224", "blocks": {"cbam": {"after": [4]}}},
        ("blocks", "cbam", "after"),
        "vit_tiny_patch16_224 has no stages, got 4",
    ),
    (
        {"kind": "timm", "name": "vit_tiny_patch16_224", "freeze": ["stem"]},
        ("freeze",),
        "vit_tiny_patch16_224 has no stages, got stem",
    ),
    (
        {"kind": "timm", "name": "vit_tiny_patch16_224"},
        ("name",),
        "vit_tiny_patch16_224 takes images of 224 px, got a dataset.image_size of 32; "
        "`arguments: {img_size: 32}` makes one for these",
    ),
    (
        {"kind": "timm", "name": "vit_tiny_patch16_224", "arguments": {"img_size": 64}},
        ("name",),
        "vit_tiny_patch16_224 takes images of 64 px, got a dataset.image_size of 32",
    ),
    (
        {"kind": "timm", "name": "vit_tiny_patch16_224", "arguments": {"img_size": [32, 32]}},
        ("arguments", "img_size"),
        "got [32, 32], expected a whole number",
    ),
    (
        {**TIMM, "arguments": {"widht": 2}},
        ("arguments",),
        "timm's test_resnet can't be built with these (TypeError: ResNet.__init__() got an unexpected keyword argument "
        "'widht')",
    ),
    (
        {**TIMM, "arguments": {"act_layer": "sillu"}},
        ("arguments",),
        "timm's test_resnet can't be built with these (KeyError: 'sillu')",
    ),
    (
        {**TIMM, "arguments": {"in_chans": 1}},
        ("arguments", "in_chans"),
        "got timm's in_chans, which is 3 for all data sets",
    ),
    (
        {**TIMM, "arguments": {"pretrained": True}},
        ("arguments", "pretrained"),
        "got timm's pretrained, expected the setting of this name",
    ),
    (
        {"kind": "timm", "name": "regnetx_002", "blocks": {"se": {"inside": [1]}}},
        ("blocks", "se", "inside"),
        "the stages of regnetx_002 have no residual branches that can hold se, expected after",
    ),
    (
        {"kind": "timm", "name": "deit_tiny_distilled_patch16_224", "head": {"kind": "mlp"}},
        ("head",),
        "deit_tiny_distilled_patch16_224 has no single layer as its classifier, expected the default head",
    ),
    ({"kind": "timm", "name": "resnett50"}, ("name",), "timm has no network 'resnett50'; did you mean 'resnet50'?"),
    (
        {"kind": "timm", "name": "resnet50.a1_in1"},
        ("name",),
        "timm has no network 'resnet50.a1_in1'; did you mean 'resnet50.a1_in1k'?",
    ),
    (
        {"kind": "timm", "name": "resnetv2_50x1_bitm"},
        ("name",),
        "timm has no network 'resnetv2_50x1_bitm'; it is called 'resnetv2_50x1_bit.goog_in21k_ft_in1k' now",
    ),
    (
        {"kind": "timm", "name": "resnetv2_152", "pretrained": True},
        ("pretrained",),
        "timm has no weights 'resnetv2_152'; did you mean 'resnetv2_50'?",
    ),
]


class TestRefused:
    @pytest.mark.parametrize(("settings", "path", "message"), REFUSED)
    def test_at_plan_time(self, settings: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
        with pytest.raises(Problem) as caught:
            recipe(**settings)
        assert (caught.value.path, caught.value.message) == (("architecture", *path), message)

    def test_and_where_there_is_no_plan(self) -> None:
        with pytest.raises(UserError) as caught:
            build_architecture({**SMALL, "blocks": {"cbam": {"after": [5]}}}, 5)
        assert str(caught.value) == "architecture.blocks.cbam.after: resnet has the stages 1 to 4, got 5"

    def test_channels_that_a_block_can_not_have(self) -> None:
        with pytest.raises(UserError) as caught:
            costs.measure(parse(**{**SMALL, "width": 10}, blocks={"cot": {"inside": [1]}}), 5, 32)
        assert str(caught.value).startswith("architecture.blocks.cot: got 10 channels")

    def test_two_blocks_in_the_place_of_one_convolution(self, tmp_path: Path) -> None:
        plugin = tmp_path / "other.py"
        plugin.write_text(
            "from typing import Literal\n"
            "from experiments.blocks.cot import ContextualTransformer\n"
            "class Other(ContextualTransformer):\n    kind: Literal['other'] = 'other'\n"
        )
        catalog.add_plugin(plugin)
        with pytest.raises(Problem) as caught:
            recipe(**SMALL, blocks={"cot": {"inside": [2, 3]}, "other": {"inside": [3]}})
        assert caught.value.path == ("architecture", "blocks", "other", "inside")
        assert caught.value.message == (
            "the 3x3 convolutions of stage 3 are replaced by cot already, expected one of them there"
        )


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kind", ["se", "cbam", "gc", "cot", "convnext"])
def test_gradients_lie_as_their_parameters_do(kind: str, layout: torch.memory_format) -> None:
    """torch's fused optimizers on the CPU read both as they lie in memory, and say nothing where they lie differently."""
    settings = {
        "block": "bottleneck",
        "layers": [1, 1, 1, 1],
        "width": 16,
        "tweak": "D",
        "blocks": {kind: {"inside": [3]}},
    }
    model = Resnet.model_validate(settings).build(5).to(memory_format=layout)
    model(torch.randn(4, 3, 32, 32).contiguous(memory_format=layout)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            steps = [
                [step for step, size in zip(one.stride(), one.shape, strict=True) if size > 1]
                for one in (parameter, parameter.grad)
            ]
            assert steps[0] == steps[1], name
