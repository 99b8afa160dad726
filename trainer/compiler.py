"""Torch without its compiler, which takes as long to load as torch itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"


def spare_compiler() -> None:
    """Keep torch's optimizers from loading the compiler; they compute the same.

    Torch wraps their methods, for programs that compile a whole step, to keep the compiler out of them, and the
    wrappers load it. Here nothing but a network's forward pass is ever compiled, so that they are removed. A release of
    torch that wraps the methods in another way keeps its wrappers.
    """
    from torch import optim
    from torch.optim import optimizer

    unwrap(optim.Optimizer)
    wraps_step = getattr(optimizer, "_use_grad_for_differentiable", None)
    if wraps_step is None:
        return
    told = wraps_step(_nothing).__code__
    for found in _below(optim.Optimizer):
        step: Any = vars(found).get("step")
        if getattr(step, "__code__", None) is told:
            # setattr, because mypy refuses to assign to a method
            setattr(found, "step", _plain(step.__wrapped__))  # noqa: B010


@contextmanager
def without_compiler() -> Iterator[None]:
    """Inside, importing torchvision or timm does not load the compiler.

    torchvision 0.29 imports `is_compile_supported` from the compiler's utilities: it gets a function that loads them
    once it is called. timm 1.0.31 keeps functions out of compiled code by `torch.compiler.disable`, which loads the
    compiler: they are marked here as it would mark them.
    """
    if _COMPILER in sys.modules:
        yield
        return
    from torch import compiler

    stand_ins = {name: _StandIn(name) for name in (_COMPILER, f"{_COMPILER}.utils")}
    vars(stand_ins[f"{_COMPILER}.utils"])["is_compile_supported"] = _is_compile_supported
    disable = compiler.disable
    sys.modules |= stand_ins
    # setattr, because mypy refuses to assign to a function
    setattr(compiler, "disable", _kept_out)  # noqa: B010
    try:
        yield
    finally:
        setattr(compiler, "disable", disable)  # noqa: B010
        _remove(stand_ins)


class _StandIn(ModuleType):
    """Stands for a module of the compiler, and gives way to it as soon as any other attribute is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _remove({known: module for known, module in sys.modules.items() if isinstance(module, _StandIn)})
        return getattr(import_module(self.__name__), name)


def _remove(stand_ins: dict[str, Any]) -> None:
    for name, module in stand_ins.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]


def _is_compile_supported(*arguments: Any) -> Any:
    return import_module(f"{_COMPILER}.utils").is_compile_supported(*arguments)


def _kept_out(function: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Does what torch.compiler.disable does."""
    if function is None:
        return _kept_out
    vars(function)["_torchdynamo_disable"] = True
    return function


def unwrap(owner: Any) -> None:
    """Remove from a class's methods torch's wrapper that loads the compiler in order to keep it out of them."""
    try:
        from torch._compile import _disable_dynamo
    except ImportError:
        return
    wrapper = _disable_dynamo(_nothing).__code__
    for name, method in list(vars(owner).items()):
        if getattr(method, "__code__", None) is wrapper:
            setattr(owner, name, method.__wrapped__)


def _plain(step: Any) -> Any:
    """An optimizer's step in torch's own wrapper, but without the calls of the compiler in it."""
    import torch

    @wraps(step)
    def plain(self: Any, *arguments: Any, **named: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **named)

    return plain


def _below(cls: type) -> list[type]:
    children: list[type] = cls.__subclasses__()
    return children + [found for child in children for found in _below(child)]


def _nothing() -> None:
    pass
