"""Surgery: what each does to a network, and what a network is to blocks, weights and freezing after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from test_resnet import SMALL, build, fails, outputs, randomised
from test_run import ablate
from torch import nn
from torch.nn import functional

from experiments import build_architecture, catalog
from experiments.options import Surgery
from experiments.surgeries._replacing import replace_modules
from trainer.errors import UserError

KEPT: dict[str, Any] = {"zero_gamma": True}
"""timm's initial scales, for what is compared with a network that timm builds."""


def named(model: nn.Module, kind: str) -> set[str]:
    """The names of the modules whose class, torch's or timm's, is called `kind`."""
    return {name for name, module in model.named_modules() if type(module).__name__ == kind}


class TestActivation:
    @pytest.mark.parametrize(("to", "layer"), [("silu", nn.SiLU), ("elu", nn.ELU), ("hard_swish", nn.Hardswish)])
    @pytest.mark.parametrize("name", ["resnet10t", "test_resnet", "regnetx_002"])
    def test_it_is_the_network_that_timm_builds_with_that_activation(self, name: str, to: str, layer: Any) -> None:
        ours = build_architecture({"kind": "timm", "name": name, **KEPT, "surgery": {"activation": {"to": to}}}, 5)
        theirs = timm.create_model(name, num_classes=5, act_layer=layer)
        theirs.load_state_dict(ours.state_dict())
        assert torch.equal(outputs(randomised(ours)), outputs(randomised(theirs)))

    def test_every_one_is_replaced_but_gates_and_those_of_blocks(self) -> None:
        settings = {"blocks": {"se": {"inside": [1, 2], "reduction": 4}}}
        plain, model = build(**settings), build(**settings, surgery={"activation": {"to": "gelu"}})
        relus = named(plain, "ReLU")
        in_blocks = {name for name in relus if "se" in name.split(".")}
        assert named(model, "ReLU") == in_blocks
        assert named(model, "GELU") == relus - in_blocks
        assert named(model, "Sigmoid") == named(plain, "Sigmoid") != set()

    def test_the_weights_are_drawn_as_without_it(self) -> None:
        states = []
        for surgery in ({}, {"activation": {"to": "mish"}}):
            torch.manual_seed(0)
            states.append(build(surgery=surgery).state_dict())
        assert list(states[0]) == list(states[1])
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())

    def test_an_activation_that_does_not_exist(self) -> None:
        assert 'surgery.activation.to: got "swoosh", expected' in fails(surgery={"activation": {"to": "swoosh"}})


def binomial(maps: np.ndarray, row: list[int], stride: int) -> np.ndarray:
    """Maps [N, C, H, W] filtered by a binomial row in either direction, edges repeated, then subsampled."""
    half = len(row) // 2
    padded = np.pad(maps, ((0, 0), (0, 0), (half, half), (half, half)), mode="edge")
    height, width = maps.shape[2:]
    found = np.zeros_like(maps)
    for down, one in enumerate(row):
        for right, other in enumerate(row):
            found += one * other * padded[:, :, down : down + height, right : right + width] / sum(row) ** 2
    return found[:, :, ::stride, ::stride]


class TestBlurPool:
    @pytest.mark.parametrize(("size", "row"), [(3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])])
    def test_pooling_is_dense_then_blurred_then_subsampled(self, size: int, row: list[int]) -> None:
        model = build(surgery={"blur_pool": {"size": size}})
        for side in (7, 8, 1):
            maps = torch.randn(2, 8, side, side, generator=torch.Generator().manual_seed(side))
            dense = functional.max_pool2d(maps, 3, stride=1, padding=1)
            found = model.get_submodule("maxpool")(maps)
            assert np.allclose(found, binomial(dense.numpy(), row, 2), atol=1e-6)
            assert found.shape == build().get_submodule("maxpool")(maps).shape

    def test_a_convolution_with_a_stride_sees_a_blurred_map(self) -> None:
        model = build(surgery={"blur_pool": {}})
        blurred: Any = model.get_submodule("layer2.0.conv2")
        maps = torch.randn(2, 16, 9, 9, generator=torch.Generator().manual_seed(0))
        expected = functional.conv2d(
            torch.from_numpy(binomial(maps.numpy(), [1, 2, 1], 1)), blurred.weight, stride=2, padding=1
        )
        assert torch.allclose(blurred(maps), expected, atol=1e-5)

    def test_only_what_subsamples_behind_the_first_convolution_is_changed(self) -> None:
        model = build(surgery={"blur_pool": {}})
        blurred = {name.removesuffix(".blur") for name, _ in model.named_modules() if name.endswith(".blur")}
        of_stages = {f"layer{stage}.0.{place}" for stage in (2, 3, 4) for place in ("conv2", "downsample.0")}
        assert blurred == {"maxpool"} | of_stages
        assert isinstance(model.get_submodule("conv1"), nn.Conv2d)

    def test_a_shift_by_a_pixel_changes_features_less(self) -> None:
        images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        images = functional.avg_pool2d(images, 5, stride=1, padding=2)
        changes: list[torch.Tensor] = []
        for surgery in ({}, {"blur_pool": {}}):
            torch.manual_seed(0)
            model: Any = build(surgery=surgery).eval()
            one, other = (model.forward_features(shifted) for shifted in (images, images.roll((1, 1), (2, 3))))
            changes.append((one - other).norm() / one.norm())
        assert changes[1] < 0.8 * changes[0]

    def test_a_network_that_subsamples_nowhere(self) -> None:
        with pytest.raises(UserError, match=r"^architecture\.surgery\.blur_pool: the network has nothing to blur"):
            build_architecture({"kind": "timm", "name": "test_vit", "surgery": {"blur_pool": {}}}, 5)

    @pytest.mark.parametrize("side", [32, 33, 64])
    @pytest.mark.parametrize("name", ["resnet10t", "regnetx_002", "mobilenetv3_small_050", "vgg11", "densenet121"])
    def test_maps_keep_their_sizes(self, name: str, side: int) -> None:
        def shapes(surgery: dict[str, Any]) -> list[torch.Size]:
            with torch.device("meta"):
                model = build_architecture({"kind": "timm", "name": name, "surgery": surgery}, 5).eval()
                found: list[torch.Size] = []
                for module in model.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.register_forward_hook(lambda _, inputs, output: found.append(output.shape))
                return [*found, model(torch.zeros(1, 3, side, side)).shape]

        assert shapes({"blur_pool": {}}) == shapes({})

    def test_pooling_of_rounded_up_sizes_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"^architecture\.surgery\.blur_pool: the network pools with ceil_mode"):
            build_architecture({"kind": "timm", "name": "legacy_seresnet18", "surgery": {"blur_pool": {}}}, 5)

    def test_an_even_filter_has_no_centre(self) -> None:
        assert "surgery.blur_pool.size: got 4, expected an odd number" in fails(surgery={"blur_pool": {"size": 4}})
        assert "surgery.blur_pool.size: got 1, expected greater than or equal to 3" in fails(
            surgery={"blur_pool": {"size": 1}}
        )


BOTH: dict[str, Any] = {"activation": {"to": "silu"}, "blur_pool": {}}


class TestWhatComesAfter:
    @pytest.mark.parametrize("saved", [{}, BOTH])
    def test_pretrained_weights_of_the_network_with_or_without_it_fit(self, saved: Any, tmp_path: Path) -> None:
        source = randomised(build(surgery=saved))
        torch.save(source.state_dict(), tmp_path / "w.pt")
        model = build(surgery=BOTH, weights_file=str(tmp_path / "w.pt"))
        for (name, loaded), (_, tensor) in zip(model.state_dict().items(), source.state_dict().items(), strict=True):
            assert torch.equal(loaded, tensor), name

    def test_weights_trained_with_it_fit_the_network_without_it_and_one_with_blocks(self, tmp_path: Path) -> None:
        torch.save(randomised(build(surgery=BOTH)).state_dict(), tmp_path / "w.pt")
        saved = torch.load(tmp_path / "w.pt")
        for others in ({}, {"surgery": BOTH, "blocks": {"se": {"inside": [1]}, "cbam": {"after": [4]}}}):
            model = build(weights_file=str(tmp_path / "w.pt"), **others)
            loaded = model.state_dict()
            assert torch.equal(loaded["layer2.0.conv2.weight"], saved["layer2.0.conv2.weight"])
            assert torch.equal(loaded["conv1.weight"], saved["conv1.weight"])

    def test_blocks_stand_in_and_after_stages_as_before(self) -> None:
        blocks = {"se": {"inside": [1]}, "cot": {"inside": [2]}, "cbam": {"after": [4]}}
        model = build(surgery=BOTH, blocks=blocks)
        plain = build(blocks=blocks)
        assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())
        # it subsamples by averaging, in the place of the blurred convolution
        assert [name for name, _ in model.get_submodule("layer2.0.conv2").named_children()] == ["pool", "cot"]
        assert outputs(model).shape == (2, 10)

    def test_frozen_stages_stay_frozen(self) -> None:
        model = build(surgery=BOTH, freeze=["stem", 1, 2])
        trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        assert trained == {"layer3", "layer4", "fc"}


PLUGIN = '''
"""Surgery of another package."""
import copy
from typing import Literal
from torch import nn
from experiments.options import Surgery
from experiments.surgeries._replacing import replace_modules


class Odd(Surgery):
    """Does what a test says."""

    kind: Literal["odd"] = "odd"
    order: int = 1
    what: str

    def apply(self, model):
        match self.what:
            case "prelu":
                for stage in (model.layer1, model.layer2):
                    stage[0].act1 = nn.PReLU()
            case "after":
                # blur_pool, whose order is less, has been
                model.maxpool.blur
            case "none":
                return None
            case "copies":
                return copy.deepcopy(model)
            case "frozen":
                model.requires_grad_(False)
            case "no stage":
                model.third = model.layer3
                del model.layer3
            case "two layers":
                model.fc = nn.Sequential(nn.Dropout(), model.fc)
            case "wraps":
                return nn.Sequential(model)
            case "no head":
                model.fc = None
            case "no blocks":
                model.layer1 = nn.Conv2d(8, 32, 1)
            case "no kernel":
                model.layer2[0].conv2 = nn.Identity()
        return model
'''


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(PLUGIN)
    catalog.add_plugin(file)


def odd(what: str, **others: Any) -> dict[str, Any]:
    return {"odd": {"what": what}, **others}


class TestPlugin:
    def test_parameters_of_its_own_are_trained_in_a_frozen_stage(self) -> None:
        model = build(surgery=odd("prelu"), freeze=["stem", 1])
        trained = {name for name, p in model.named_parameters() if p.requires_grad and name.startswith("layer1")}
        assert trained == {"layer1.0.act1.weight"}

    def test_they_act_by_order_then_by_kind(self) -> None:
        build(surgery=odd("after", blur_pool={}))
        found = fails(surgery=odd("after", blur_pool={"order": 2}))
        assert found.startswith("architecture.surgery.odd: /")
        assert found.endswith("odd.py:24: AttributeError: 'MaxPool2d' object has no attribute 'blur'")

    @pytest.mark.parametrize(
        ("what", "reason"),
        [
            ("none", "odd: apply returned NoneType, expected the one that it was given, changed in place"),
            ("wraps", "odd: apply returned Sequential, expected the one that it was given, changed in place"),
            ("copies", "odd: apply returned another network, expected the one that it was given, changed in place"),
            ("no head", "odd: apply left no classifier, expected timm's to keep its name"),
            ("no stage", "odd: apply left no layer3, expected stages to keep their names"),
            ("frozen", ""),
        ],
    )
    def test_it_gives_back_the_network_that_it_was_given(self, what: str, reason: str) -> None:
        found = fails(surgery=odd(what))
        expected = f"architecture.surgery.{reason}" if reason else "architecture.freeze: freezes everything"
        assert found.startswith(expected)

    def test_frozen_parts_are_enough_to_train_what_it_adds(self) -> None:
        model = build(surgery=odd("prelu"), freeze=["stem", 1, 2, 3, 4, "head"])
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert trained == ["layer1.0.act1.weight", "layer2.0.act1.weight"]

    def test_a_head_needs_a_single_layer_in_its_place(self) -> None:
        assert fails(surgery=odd("two layers"), head={"kind": "mlp"}) == (
            "architecture.head: surgery has left a classifier of several layers, expected the default head"
        )

    def test_a_module_with_two_names_is_replaced_under_both(self) -> None:
        shared = nn.ReLU()
        model = nn.Sequential(shared, nn.Linear(2, 2), shared)
        assert replace_modules(model, lambda module: nn.SiLU() if module is shared else None) == 1
        assert isinstance(model[0], nn.SiLU)
        assert model[0] is model[2]

    def test_blocks_that_have_lost_their_place_are_refused(self) -> None:
        assert fails(surgery=odd("no blocks"), blocks={"se": {"inside": [1]}}) == (
            "architecture.blocks.se: surgery has left stage 1 no residual blocks to hold it"
        )
        assert fails(surgery=odd("no kernel"), blocks={"cot": {"inside": [2]}}) == (
            "architecture.blocks.cot: surgery has left no 3x3 convolution that it could replace"
        )

    @pytest.mark.parametrize("order", ['str = "first"', "int | None = None", 'int = "first"'])
    def test_its_order_is_a_number(self, order: str, tmp_path: Path) -> None:
        file = tmp_path / "other.py"
        file.write_text(PLUGIN.replace("Odd", "Other").replace('"odd"', '"other"').replace("int = 1", order))
        with pytest.raises(UserError, match=r"Other\.order is .*, expected a whole number, as in `order: int = 1`"):
            catalog.add_plugin(file)

    def test_its_code_is_part_of_the_identity(self) -> None:
        option: Any = catalog.parse("architectures", {**SMALL, "surgery": odd("prelu")})
        (surgery,) = option.surgery.values()
        assert isinstance(surgery, Surgery)
        assert option.identity()["surgery"]["odd"]["code"] == surgery.code is not None
        assert "surgery" not in catalog.parse("architectures", SMALL).identity()


class TestStochasticDepth:
    def test_the_lth_of_l_blocks_is_skipped_with_rate_l_over_l(self) -> None:
        model = build(surgery={"stochastic_depth": {"rate": 0.8}}).train()
        blocks = [model.get_submodule(f"layer{stage}.0") for stage in (1, 2, 3, 4)]
        torch.manual_seed(0)
        for depth, block in enumerate(blocks, 1):
            drop = block.get_submodule("drop_path")
            branch = torch.ones(20_000, 2, 1, 1)
            found = drop(branch)[:, 0, 0, 0]
            rate = 0.8 * depth / 4
            assert found.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
            assert float((found == 0).float().mean()) == pytest.approx(rate, abs=0.02), "each image by itself"

    def test_an_image_whose_branch_is_dropped_keeps_the_shortcut(self) -> None:
        model = build(surgery={"stochastic_depth": {"rate": 0.5}})
        block = model.get_submodule("layer1.0").train()
        shortcuts: list[torch.Tensor] = []
        block.get_submodule("downsample").register_forward_hook(lambda module, given, out: shortcuts.append(out))
        images = torch.randn(200, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(0)
        found = block(images)
        same = (found == shortcuts[0].relu()).flatten(1).all(1)
        assert 0.05 < float(same.float().mean()) < 0.25, "about an eighth"

    @pytest.mark.parametrize("name", ["resnet10t", "resnetv2_50", "convnext_atto", "vit_tiny_patch16_224"])
    def test_evaluation_and_weights_are_as_without_it(self, name: str) -> None:
        plain, dropping = (
            build_architecture({"kind": "timm", "name": name, "surgery": surgery}, 5)
            for surgery in ({}, {"stochastic_depth": {"rate": 0.5}})
        )
        dropping.load_state_dict(plain.state_dict())
        images = torch.randn(2, 3, 224 if "vit" in name else 64, 224 if "vit" in name else 64)
        with torch.no_grad():
            expected, found = plain.eval()(images), dropping.eval()(images)
            assert torch.equal(found, expected)
            assert not torch.equal(dropping.train()(images), plain.train()(images))

    def test_a_network_without_branches(self) -> None:
        with pytest.raises(UserError, match=r"stochastic_depth: the network has no residual blocks"):
            build_architecture({"kind": "timm", "name": "vgg11", "surgery": {"stochastic_depth": {}}}, 5)


STUDY = """
study: operated
question: Does either help?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.02}
  epochs: 1
  batch_size: 64
factors:
  silu: {architecture.surgery.activation: {to: silu}}
  blur: {architecture.surgery.blur_pool: {}}
designs:
  - subsets: [silu, blur]
seeds: 1
"""


class TestStudy:
    def test_each_is_a_switch(self) -> None:
        Path("study.yaml").write_text(STUDY)
        said = ablate("plan", "study.yaml", "--no-probe").stdout
        assert "4 cells x 1 seed = 4 trials" in said
        assert "at once" not in said

    def test_one_that_finds_nothing_to_change_is_told_by_the_plan(self) -> None:
        vit = "{kind: timm, name: vit_tiny_patch16_224}"
        study = STUDY.replace("{kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}", vit)
        Path("study.yaml").write_text(study.replace("image_size: 16", "image_size: 224"))
        said = ablate("plan", "study.yaml", "--no-probe", code=2).stderr
        assert said.startswith("ablate: cell blur: architecture.surgery.blur_pool: the network has nothing to blur")

    def test_a_kind_that_does_not_exist(self) -> None:
        Path("study.yaml").write_text(STUDY.replace("blur_pool", "blur_pol"))
        assert ablate("plan", "study.yaml", code=2).stderr == (
            "ablate: study.yaml:12: factors.blur.architecture.surgery.blur_pol: unknown surgery 'blur_pol', expected "
            "one of activation, blur_pool, odd, stochastic_depth; did you mean 'blur_pool'?\n"
        )
