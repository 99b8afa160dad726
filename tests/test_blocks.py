"""Each block against its paper's equations, spelled out number by number, and against timm's module where it has one."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from timm.layers.cbam import CbamModule
from timm.layers.global_context import GlobalContext as TimmGlobalContext
from timm.layers.squeeze_excite import SEModule
from timm.models.convnext import ConvNeXtBlock
from torch import nn

from experiments import catalog
from experiments.blocks.cbam import Cbam
from experiments.blocks.convnext import ConvnextBlock
from experiments.blocks.cot import ContextualTransformer
from experiments.blocks.gc import GlobalContext
from experiments.blocks.se import SqueezeExcitation
from experiments.language.validation import Problem
from experiments.options import Block

Array = NDArray[np.float64]
Weights = dict[str, Array]

BLOCKS: dict[str, type[Block]] = {
    "cbam": Cbam,
    "convnext": ConvnextBlock,
    "cot": ContextualTransformer,
    "gc": GlobalContext,
    "se": SqueezeExcitation,
}
KINDS = list(BLOCKS)


def parse(kind: str, **settings: Any) -> Block:
    block = catalog.parse_named("blocks", {kind: {"after": [1], **settings}})[kind]
    assert isinstance(block, Block)
    return block


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """In double precision, with parameters and statistics that are all far from where they start."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.double) * 0.7)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator, dtype=torch.double))
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.double) + 0.5)
    return module


def a_map(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.double)


# the papers' equations in NumPy


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def gelu(x: Array) -> Array:
    return np.array([value / 2 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def layer(w: Weights, name: str, vector: Array) -> Array:
    """A fully connected layer, or a 1x1 convolution of one position."""
    weight = w[f"{name}.weight"]
    bias = w.get(f"{name}.bias", np.zeros(len(weight)))
    return np.array([np.dot(row.ravel(), vector) + b for row, b in zip(weight, bias, strict=True)])


def at_each_position(function: Callable[[Array], Array], x: Array) -> Array:
    n, _, height, width = x.shape
    rows = [[[function(x[i, :, y, z]) for z in range(width)] for y in range(height)] for i in range(n)]
    return np.array(rows).transpose(0, 3, 1, 2)


def convolution(x: Array, weight: Array, groups: int = 1) -> Array:
    """Zero-padded to the input's size."""
    n, channels, height, width = x.shape
    out, _, side, _ = weight.shape
    result = np.zeros((n, out, height, width))
    for i, o, y, z in product(range(n), range(out), range(height), range(width)):
        group = o // (out // groups)
        for c, (dy, dz, yy, zz) in product(range(channels // groups), around(y, z, side, height, width)):
            result[i, o, y, z] += weight[o, c, dy, dz] * x[i, group * (channels // groups) + c, yy, zz]
    return result


def around(y: int, z: int, side: int, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """The places of a kernel that is centred on (y, z), and the positions inside the map that they lie on."""
    for dy, dz in product(range(side), repeat=2):
        yy, zz = y + dy - side // 2, z + dz - side // 2
        if 0 <= yy < height and 0 <= zz < width:
            yield dy, dz, yy, zz


def batch_norm(w: Weights, name: str, x: Array, training: bool) -> Array:
    """Of [N, C] or [N, C, H, W]."""
    result = np.empty_like(x)
    for c in range(x.shape[1]):
        mean, variance = w[f"{name}.running_mean"][c], w[f"{name}.running_var"][c]
        if training:
            mean, variance = x[:, c].mean(), x[:, c].var()
        result[:, c] = (x[:, c] - mean) / math.sqrt(variance + 1e-5) * w[f"{name}.weight"][c] + w[f"{name}.bias"][c]
    return result


def layer_norm(w: Weights, name: str, vector: Array) -> Array:
    centred = vector - vector.sum() / len(vector)
    variance = (centred**2).sum() / len(vector)
    normalised: Array = centred / math.sqrt(variance + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]
    return normalised


def squeeze_excitation(w: Weights, x: Array, training: bool) -> Array:
    result = np.empty_like(x)
    for i, image in enumerate(x):
        squeezed = np.array([channel.sum() / channel.size for channel in image])
        gates = sigmoid(layer(w, "fc2", relu(layer(w, "fc1", squeezed))))
        for c, gate in enumerate(gates):
            result[i, c] = gate * image[c]
    return result


def cbam(w: Weights, x: Array, training: bool) -> Array:
    def shared(vector: Array) -> Array:
        return layer(w, "channel.fc2", relu(layer(w, "channel.fc1", vector)))

    refined = np.empty_like(x)
    for i, image in enumerate(x):
        average = np.array([channel.sum() / channel.size for channel in image])
        maximum = np.array([max(channel.ravel()) for channel in image])
        refined[i] = sigmoid(shared(average) + shared(maximum))[:, None, None] * image
    pooled = at_each_position(lambda vector: np.array([vector.sum() / len(vector), max(vector)]), refined)
    scores = batch_norm(w, "spatial.conv.bn", convolution(pooled, w["spatial.conv.conv.weight"]), training)
    return sigmoid(scores) * refined


def global_context(w: Weights, x: Array, training: bool) -> Array:
    result = np.empty_like(x)
    for i, image in enumerate(x):
        positions = image.reshape(len(image), -1).T
        scores = [math.exp(layer(w, "conv_attn", position)[0]) for position in positions]
        context = sum(score / sum(scores) * position for score, position in zip(scores, positions, strict=True))
        hidden = relu(layer_norm(w, "mlp_add.norm", layer(w, "mlp_add.fc1", np.asarray(context))))
        result[i] = image + layer(w, "mlp_add.fc2", hidden)[:, None, None]
    return result


def convnext(w: Weights, x: Array, training: bool) -> Array:
    depthwise = convolution(x, w["conv_dw.weight"], groups=x.shape[1]) + w["conv_dw.bias"][None, :, None, None]

    def network(vector: Array) -> Array:
        hidden = gelu(layer(w, "mlp.fc1", layer_norm(w, "norm", vector)))
        return w["gamma"] * layer(w, "mlp.fc2", hidden)

    return x + at_each_position(network, depthwise)


def contextual_transformer(w: Weights, x: Array, training: bool, share: int = 8, groups: int = 4) -> Array:
    n, channels, height, width = x.shape
    side = w["key.0.weight"].shape[-1]
    heads = channels // share
    static = relu(batch_norm(w, "key.1", convolution(x, w["key.0.weight"], groups), training))

    hidden = at_each_position(lambda vector: layer(w, "attention.0", vector), np.concatenate([x, static], axis=1))
    hidden = relu(batch_norm(w, "attention.1", hidden, training))
    attention = at_each_position(lambda vector: layer(w, "attention.3", vector), hidden)
    attention = attention.reshape(n, heads, side, side, height, width)
    scale, shift = (w[f"attention.4.{name}"].reshape(heads, side, side, 1, 1) for name in ("weight", "bias"))
    for i, head in product(range(n), range(heads)):
        normalised = (attention[i, head] - attention[i, head].mean()) / math.sqrt(attention[i, head].var() + 1e-5)
        attention[i, head] = normalised * scale[head] + shift[head]

    values = at_each_position(lambda vector: layer(w, "value.0", vector), x)
    values = batch_norm(w, "value.1", values, training)
    dynamic = np.zeros_like(x)
    for i, c, y, z in product(range(n), range(channels), range(height), range(width)):
        for dy, dz, yy, zz in around(y, z, side, height, width):
            dynamic[i, c, y, z] += attention[i, c % heads, dy, dz, y, z] * values[i, c, yy, zz]
    dynamic = batch_norm(w, "norm", dynamic, training)
    dynamic = dynamic * sigmoid(dynamic)

    pooled = (static + dynamic).sum(axis=(2, 3)) / (height * width)
    squeezed = np.array([layer(w, "fusion.0", vector) for vector in pooled])
    squeezed = relu(batch_norm(w, "fusion.1", squeezed, training))
    result = np.empty_like(x)
    for i in range(n):
        scores = np.exp(layer(w, "fusion.3", squeezed[i]).reshape(channels, 2))
        for c in range(channels):
            of_dynamic, of_static = scores[c] / scores[c].sum()
            result[i, c] = of_dynamic * dynamic[i, c] + of_static * static[i, c]
    return result


def in_numpy(module: nn.Module) -> Weights:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


EQUATIONS: list[tuple[str, dict[str, Any], Callable[..., Array]]] = [
    ("se", {}, squeeze_excitation),
    ("se", {"ratio": 0.25}, squeeze_excitation),
    ("se", {"reduction": 2}, squeeze_excitation),
    ("cbam", {}, cbam),
    ("cbam", {"reduction": 4, "kernel_size": 3}, cbam),
    ("gc", {}, global_context),
    ("gc", {"reduction": 2}, global_context),
    ("cot", {}, contextual_transformer),
    ("cot", {"kernel_size": 5}, contextual_transformer),
    ("cot", {"share": 4, "groups": 2}, contextual_transformer),
    ("convnext", {}, convnext),
    ("convnext", {"kernel_size": 3, "expansion": 2}, convnext),
]


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize(("kind", "settings", "equation"), EQUATIONS, ids=[f"{k}-{s}" for k, s, _ in EQUATIONS])
def test_it_is_what_the_paper_writes(
    kind: str, settings: dict[str, Any], equation: Callable[..., Array], training: bool
) -> None:
    channels = 16 if kind == "cot" else 64
    module = randomised(parse(kind, **settings).build(channels)).train(training)
    x = a_map(2, channels, 4, 3)
    weights = in_numpy(module)
    grouping = {name: settings[name] for name in ("share", "groups") if name in settings}
    expected = equation(weights, x.numpy().copy(), training, **grouping)
    assert np.abs(expected - x.numpy()).max() > 0.1
    np.testing.assert_allclose(module(x).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


TIMM: list[tuple[str, dict[str, Any], Callable[[], nn.Module]]] = [
    ("se", {}, lambda: SEModule(64, rd_ratio=1 / 16, rd_divisor=1)),
    ("se", {"ratio": 0.5}, lambda: SEModule(64, rd_ratio=1 / 2)),
    ("cbam", {}, lambda: CbamModule(64, rd_ratio=1 / 16, mlp_bias=True)),
    ("cbam", {"kernel_size": 5}, lambda: CbamModule(64, spatial_kernel_size=5, mlp_bias=True)),
    ("gc", {"reduction": 8}, lambda: TimmGlobalContext(64, fuse_add=True, fuse_scale=False)),
    # the other of its two formulations
    ("convnext", {}, lambda: ConvNeXtBlock(64, conv_mlp=True)),
]


@pytest.mark.parametrize(("kind", "settings", "theirs"), TIMM, ids=[f"{k}-{s}" for k, s, _ in TIMM])
@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
def test_it_is_timms_module(
    kind: str, settings: dict[str, Any], theirs: Callable[[], nn.Module], training: bool
) -> None:
    module = randomised(parse(kind, **settings).build(64)).train(training)
    other = randomised(theirs(), seed=2).train(training)
    own = module.state_dict()
    if kind == "gc":
        # that there is no such parameter makes no difference: any number does
        own["conv_attn.bias"] = torch.tensor([3.0])
    other.load_state_dict({name: own[name].reshape(tensor.shape) for name, tensor in other.state_dict().items()})
    assert set(own) == set(other.state_dict())
    x = a_map(3, 64, 6, 5)
    torch.testing.assert_close(module(x), other(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("channels", [8, 16, 48])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shape_stays(kind: str, channels: int, training: bool) -> None:
    module = parse(kind).build(channels).train(training)
    for batch, height, width in [(2, 6, 6), (2, 1, 1), (3, 2, 9), (1, 5, 4), (1, 1, 1)]:
        if training and batch == 1 and kind in ("cbam", "cot"):
            # their batch norms need more than one number
            continue
        x = a_map(batch, channels, height, width).float()
        out = module(x)
        assert out.shape == x.shape
        assert out.dtype == x.dtype
        assert bool(out.isfinite().all())


def number_of_parameters(
    kind: str,
    c: int,
    *,
    ratio: float | None = None,
    reduction: int = 16,
    kernel_size: int | None = None,
    expansion: int = 4,
    groups: int = 4,
    share: int = 8,
) -> int:
    k = kernel_size or (3 if kind == "cot" else 7)
    if kind == "se":
        h = int(c * ratio) if ratio else max(1, c // reduction)
        return (c * h + h) + (h * c + c)
    if kind == "cbam":
        h = max(1, c // reduction)
        return (c * h + h) + (h * c + c) + 2 * k**2 + 2
    if kind == "gc":
        h = max(3, c // reduction)
        return c + (c * h + h) + 2 * h + (h * c + c)
    if kind == "convnext":
        h = expansion * c
        return (c * k**2 + c) + 2 * c + (c * h + h) + (h * c + c) + c
    heads, h, s = c // share, c // 2, max(32, c // 2)
    key = c * (c // groups) * k**2 + 2 * c
    attention = 2 * c * h + 2 * h + (h + 1) * heads * k**2 + 2 * heads * k**2
    value = c * c + 2 * c
    fusion = c * s + 2 * s + (s + 1) * 2 * c
    return key + attention + value + 2 * c + fusion


@pytest.mark.parametrize(
    ("kind", "channels", "settings"),
    [
        *((kind, channels, {}) for kind in KINDS for channels in (8, 64, 128)),
        ("se", 64, {"ratio": 0.25}),
        ("se", 64, {"reduction": 4}),
        ("cbam", 64, {"reduction": 8, "kernel_size": 3}),
        ("gc", 64, {"reduction": 4}),
        ("convnext", 64, {"kernel_size": 5, "expansion": 2}),
        ("cot", 64, {"kernel_size": 5, "groups": 8, "share": 16}),
    ],
    ids=str,
)
def test_the_number_of_parameters(kind: str, channels: int, settings: dict[str, Any]) -> None:
    module = parse(kind, **settings).build(channels)
    found = sum(parameter.numel() for parameter in module.parameters())
    assert found == number_of_parameters(kind, channels, **settings)


@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_reaches_every_parameter_and_the_input(kind: str, training: bool) -> None:
    # with fewer, each of the few hidden channels might be one that ReLU cuts off
    module = randomised(parse(kind).build(128)).train(training)
    x = a_map(3, 128, 5, 4).requires_grad_()
    (module(x) * a_map(3, 128, 5, 4, seed=3)).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).all())
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 1e-6, name


@pytest.mark.parametrize("kind", KINDS)
def test_channels_last(kind: str) -> None:
    module = randomised(parse(kind).build(16))
    plain, format_ = a_map(2, 16, 5, 4), torch.channels_last
    expected = module(plain)
    found = module.to(memory_format=format_)(plain.to(memory_format=format_))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16(kind: str) -> None:
    module = parse(kind).build(16)
    x = a_map(4, 16, 5, 4).float()
    # on the statistics of its own batch, as module(x) is
    expected = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(x)
    found.float().sum().backward()
    assert float((found.float() - expected).detach().abs().max()) < 0.1


class TestSqueezeExcitation:
    @pytest.mark.parametrize(
        ("settings", "channels", "hidden"),
        [
            ({}, 64, 4),
            ({}, 2048, 128),
            ({}, 24, 1),
            ({}, 8, 1),
            ({"reduction": 8}, 100, 12),
            ({"reduction": 64}, 16, 1),
            ({"ratio": 0.25}, 64, 16),
            ({"ratio": 1.0}, 12, 12),
            ({"ratio": 0.0625}, 24, 1),
            ({"ratio": 0.01}, 16, 1),
            ({"ratio": 0.29}, 100, 29),
            ({"ratio": 1 / 3}, 96, 32),
        ],
    )
    def test_the_hidden_channels(self, settings: dict[str, Any], channels: int, hidden: int) -> None:
        assert parse("se", **settings).build(channels).get_submodule("fc1").weight.shape == (hidden, channels, 1, 1)

    def test_a_ratio_and_a_reduction_are_one_too_many(self) -> None:
        with pytest.raises(Problem) as caught:
            parse("se", ratio=0.5, reduction=2)
        assert caught.value.message == "got both ratio and reduction, expected one of them"
        assert caught.value.path == ("se",)


class TestGlobalContext:
    def test_it_starts_as_the_identity(self) -> None:
        x = a_map(2, 32, 4, 5).float()
        assert torch.equal(GlobalContext(after=(1,)).build(32)(x), x)

    def test_its_last_layer_leaves_the_identity_at_the_first_step(self) -> None:
        module = GlobalContext(after=(1,)).build(32)
        (module(a_map(2, 32, 4, 5).float()) ** 2).sum().backward()
        for name in ("mlp_add.fc2.weight", "mlp_add.fc2.bias"):
            gradient = module.get_parameter(name).grad
            assert gradient is not None
            assert bool((gradient != 0).any())

    def test_with_few_channels_it_still_tells_maps_apart(self) -> None:
        module = randomised(GlobalContext(after=(1,)).build(16))
        # nothing is cut off by ReLU, which is not what this is about
        torch.nn.init.constant_(module.get_parameter("mlp_add.norm.bias"), 5.0)
        x = a_map(20, 16, 3, 3)
        added = (module(x) - x).detach()[:, :, 0, 0]
        assert len(added.round(decimals=3).unique(dim=0)) == 20


class TestConvnext:
    def test_how_it_starts(self) -> None:
        torch.manual_seed(0)
        module = ConvnextBlock(after=(1,), layer_scale=1e-3).build(64)
        for name, parameter in module.named_parameters():
            if name == "gamma":
                assert torch.equal(parameter, torch.full((64,), 1e-3))
            elif parameter.dim() > 1:
                assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.05), name
            elif name.endswith("bias"):
                assert bool((parameter == 0).all()), name

    def test_it_starts_close_to_the_identity(self) -> None:
        x = a_map(2, 32, 9, 9).float()
        difference = float((ConvnextBlock(after=(1,)).build(32)(x) - x).detach().abs().max())
        assert 0 < difference < 1e-4


class TestContextualTransformer:
    def test_only_it_takes_the_place_of_a_convolution(self) -> None:
        assert [kind for kind, block in BLOCKS.items() if block.replaces_convolution] == ["cot"]

    @pytest.mark.parametrize(
        ("settings", "channels", "message"),
        [
            ({}, 12, "got 12 channels with share 8, expected a multiple of it"),
            ({}, 6, "got 6 channels with groups 4, expected a multiple of it"),
            ({"share": 16}, 24, "got 24 channels with share 16, expected a multiple of it"),
        ],
    )
    def test_channels_that_it_cannot_divide(self, settings: dict[str, Any], channels: int, message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}$"):
            parse("cot", **settings).build(channels)

    def test_settings_that_divide_any_channels(self) -> None:
        module = parse("cot", groups=1, share=1).build(1)
        assert module(a_map(2, 1, 3, 3).float()).shape == (2, 1, 3, 3)

    def test_a_position_sees_no_further_than_its_neighbours_but_for_the_pooled_gates(self) -> None:
        module = randomised(ContextualTransformer(after=(1,)).build(8)).eval()
        # scores that are the same everywhere, so that the norm over positions tells nothing of the other ones
        for name in ("attention.3.weight", "fusion.3.weight"):
            torch.nn.init.zeros_(module.get_parameter(name))
        x = a_map(1, 8, 7, 7)
        changed = x.clone()
        changed[:, :, 3, 3] += 1.0
        differs = (module(changed) - module(x)).detach().abs().amax(dim=(0, 1)) > 1e-12
        expected = torch.zeros(7, 7, dtype=torch.bool)
        expected[2:5, 2:5] = True
        assert torch.equal(differs, expected)


@pytest.mark.parametrize("kind", KINDS)
class TestPlacement:
    def test_a_block_is_inside_or_after_a_stage(self, kind: str) -> None:
        with pytest.raises(Problem) as caught:
            catalog.parse_named("blocks", {kind: {}})
        expected = "got neither inside nor after, expected the stages that it is placed in or after"
        assert (caught.value.path, caught.value.message) == ((kind,), expected)

    def test_or_both(self, kind: str) -> None:
        block = parse(kind, inside=[2, 3], after=[4], order=1)
        assert (block.inside, block.after, block.order) == ((2, 3), (4,), 1)

    @pytest.mark.parametrize("place", ["inside", "after"])
    def test_but_at_a_stage_once(self, kind: str, place: str) -> None:
        with pytest.raises(Problem) as caught:
            parse(kind, **{place: [2, 3, 2]})
        assert caught.value.message == "got [2, 3, 2], expected each stage once"
        assert caught.value.path == (kind, place)

    def test_stages_count_from_one(self, kind: str) -> None:
        with pytest.raises(Problem) as caught:
            parse(kind, inside=[0])
        assert caught.value.path == (kind, "inside", 0)

    def test_an_unknown_setting(self, kind: str) -> None:
        with pytest.raises(Problem, match="unknown setting 'reductio'"):
            parse(kind, reductio=4)


@pytest.mark.parametrize("kind", ["cbam", "cot", "convnext"])
@pytest.mark.parametrize("size", [2, 4])
def test_a_kernel_has_a_centre(kind: str, size: int) -> None:
    with pytest.raises(Problem) as caught:
        parse(kind, kernel_size=size)
    assert caught.value.path == (kind, "kernel_size")
    assert caught.value.message == f"got {size}, expected an odd number: an even kernel has no centre"


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("se", "ratio", 0.0),
        ("se", "ratio", 1.01),
        ("se", "reduction", 0),
        ("cbam", "reduction", 0),
        ("cbam", "kernel_size", -1),
        ("gc", "reduction", 0),
        ("cot", "groups", 0),
        ("cot", "share", 0),
        ("cot", "kernel_size", 0),
        ("convnext", "expansion", 0),
        ("convnext", "layer_scale", 0.0),
        ("convnext", "kernel_size", 0),
    ],
)
def test_settings_out_of_range(kind: str, name: str, value: float) -> None:
    with pytest.raises(Problem, match=r"expected (greater|less) than") as caught:
        parse(kind, **{name: value})
    assert caught.value.path == (kind, name)


def test_parsing_needs_no_torch() -> None:
    code = f"""
import sys
from experiments import catalog
for kind in {KINDS!r}:
    catalog.parse_named("blocks", {{kind: {{"after": [1]}}}})
print(sorted({{"torch", "timm"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
