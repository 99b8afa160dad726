"""`numerics.compile`: the same training through torch.compile, and no trace of it in the next trial."""

from __future__ import annotations

import pytest
import torch
from test_frozen import numbers, run, some_data
from torch import nn

from trainer.numerics import Numerics

pytestmark = pytest.mark.slow
DATA = some_data(train=32)
FP32, COMPILED = Numerics(precision="fp32"), Numerics(precision="fp32", compile=True)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(392, 10))


def test_it_trains_as_uncompiled_code_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
    called: list[nn.Module] = []
    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: called.append(model) or compile_it(model))
    plain = numbers(run(network, data=DATA, numerics=FP32, epochs=2))
    assert not called
    compiled = numbers(run(network, data=DATA, numerics=COMPILED, epochs=2))
    assert len(called) == 1
    for one, other in zip(plain, compiled, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3)
    again = numbers(run(network, data=DATA, numerics=COMPILED, epochs=2))
    assert again == compiled, "a second trial of the architecture gives the same numbers"
    assert numbers(run(network, data=DATA, numerics=FP32, epochs=2)) == plain
