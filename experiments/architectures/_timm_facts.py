"""What a plan has to know about timm's names: timm, whose import takes seconds, is asked once, and it is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import nearest
from trainer.settings import canonical

from ..training.remembered import remembered
from . import _placement

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A network of timm's, by its name."""

    name: str
    stages: tuple[str, ...] = ()
    """The modules that are its stages, first to last; none where it has no feature maps [N, C, H, W] between stages."""

    channels: tuple[int, ...] = ()
    """C of each stage's output."""

    residual: str | None = None
    """`basic` or `bottleneck`, where all its stages consist of such blocks; see _placement."""

    takes_head: bool = True
    """Whether its classifier is one layer behind the pooling, which a head can replace."""

    fixed_size: int | None = None
    """Side in pixels of the only images that it takes; None where it takes any."""

    refused: str | None = None
    """Where it can't be built with the arguments: why; else None."""

    unknown: str | None = None
    """Where timm has no such network: what the error ends with, a hint at the nearest name; else None."""


@dataclass(frozen=True)
class Weights:
    """Pretrained weights of timm's, by their name."""

    name: str
    """The name with its tag: timm's default one where the name that was asked for has none."""

    repository: str | None = None
    """Repository on the Hugging Face hub, `owner/name`."""

    url: str | None = None
    """Address of a file that is in no repository."""

    unknown: str | None = None
    """As in Network."""


def network(name: str, arguments: Mapping[str, Any]) -> Network:
    """What is remembered about the network `name` (`resnet50`, `resnet50.a1_in1k`), or found out now.

    arguments: of its constructor.
    """
    key = _key("network", name, *([canonical(arguments)] if arguments else []))
    known = remembered("timm", key, lambda: asdict(_network(name, arguments)))
    return Network(**{**known, "stages": tuple(known["stages"]), "channels": tuple(known["channels"])})


def weights(name: str) -> Weights:
    """What is remembered about the weights `name`, or found out now."""
    return Weights(**remembered("timm", _key("weights", name), lambda: asdict(_weights(name))))


def _key(what: str, *asked: str) -> list[str]:
    source = [Path(file).read_text(encoding="utf-8") for file in (__file__, _placement.__file__)]
    return [what, *asked, version("timm"), *source]


def _weights(name: str) -> Weights:
    import timm

    if not timm.models.is_model_pretrained(name):
        tagged = timm.list_pretrained()
        known = sorted({*tagged, *(full.split(".")[0] for full in tagged)})
        return Weights(name, unknown=_hint(name, known))
    config: Any = timm.models.get_pretrained_cfg(name)
    full = f"{config.architecture}.{config.tag}" if config.tag else config.architecture
    if config.hf_hub_id:
        return Weights(full, repository=config.hf_hub_id)
    return Weights(full, url=config.url)


def _network(name: str, arguments: Mapping[str, Any]) -> Network:
    import timm
    import torch

    names = {*timm.list_models(), *timm.list_models(include_tags=True)}
    if name not in names:
        return Network(name, unknown=_hint(name, sorted(names)))
    with torch.device("meta"), torch.no_grad():
        try:
            model: Any = timm.create_model(name, pretrained=False, num_classes=2, **arguments).eval()
            if not hasattr(model, "get_classifier"):
                return Network(name, unknown=" with a classifier")
            config = model.pretrained_cfg
            side = arguments.get("img_size")
            size = (3, side, side) if side else tuple(config["input_size"])
            classifiers, candidates = _placement.classifiers(model), list(_candidates(model))
            calls = _calls(model, ["", *classifiers, *chain(*candidates)], size)
            if arguments and (given := tuple(getattr(calls[""][0].output, "shape", ()))) != (1, 2):
                raise ValueError(f"gives {list(given)} for an image and two classes, expected [1, 2]")
        except Exception as error:
            if not arguments:
                raise
            return Network(name, refused=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    stages = next((row for row in candidates if all(_is_map_to_map(calls[stage]) for stage in row)), [])
    kinds = {_placement.residual_kind(model.get_submodule(stage)) for stage in stages}
    return Network(
        name,
        stages=tuple(stages),
        channels=tuple(calls[stage][0].output.shape[1] for stage in stages),
        residual=kinds.pop() if len(kinds) == 1 else None,
        takes_head=len(classifiers) == 1
        and _is_pooled_layer(model.get_submodule(classifiers[0]), calls[classifiers[0]]),
        fixed_size=size[-1] if config.get("fixed_input_size") else None,
    )


def _hint(name: str, known: list[str]) -> str:
    """The present name of what timm has renamed, else the nearest name."""
    import timm

    now = timm.models.get_deprecated_models().get(name)
    return f"; it is called {now!r} now" if now else nearest(name, known)


def _candidates(model: nn.Module) -> Iterator[list[str]]:
    """Rows of modules that may be the stages, as timm names these: layer1, layer2, ...; s1, ...; stages.0, ..."""
    children = dict(model.named_children())
    for prefix in ("layer", "s"):
        found = [name for number in range(1, len(children)) if (name := f"{prefix}{number}") in children]
        # a lone layer1 is no row of stages
        if len(found) > 1:
            yield found
    if "stages" in children and (found := [name for name, _ in children["stages"].named_children()]):
        yield [f"stages.{name}" for name in found]


@dataclass(frozen=True)
class _Call:
    inputs: tuple[Any, ...]
    named: dict[str, Any]
    output: Any


def _calls(model: nn.Module, names: list[str], input_size: tuple[int, ...]) -> dict[str, list[_Call]]:
    """How the modules `names` (the network itself is "") are called in the forward pass of one image."""
    import torch

    calls: dict[str, list[_Call]] = {name: [] for name in names}

    def hook(name: str) -> Callable[..., None]:
        return lambda module, inputs, named, output: calls[name].append(_Call(inputs, named, output))

    for name in names:
        model.get_submodule(name).register_forward_hook(hook(name), with_kwargs=True)
    model(torch.empty(1, *input_size))
    return calls


def _is_map_to_map(calls: list[_Call]) -> bool:
    """Whether a module takes one feature map [1, C, H, W] of the square image and nothing else, and gives one."""
    if len(calls) != 1 or len(calls[0].inputs) != 1 or calls[0].named:
        return False
    shapes = [tuple(getattr(value, "shape", ())) for value in (calls[0].inputs[0], calls[0].output)]
    return all(len(shape) == 4 and shape[2] == shape[3] for shape in shapes)


def _is_pooled_layer(module: nn.Module, calls: list[_Call]) -> bool:
    """Whether a classifier is one layer or convolution over the pooled features of an image, [1, C] or [1, C, 1, 1]."""
    features = _placement.features_into(module)
    return len(calls) == 1 and features is not None and calls[0].inputs[0].numel() == features
