"""`numerics.compile`: the same training through torch.compile, and no trace of it in the next trial."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_frozen import numbers, run, some_data
from torch import nn

from trainer.numerics import Numerics

pytestmark = pytest.mark.slow
DATA = some_data(train=32)
FP32, COMPILED = Numerics(precision="fp32"), Numerics(precision="fp32", compile=True)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(392, 10)
    )


def test_it_trains_as_uncompiled_code_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
    called: list[nn.Module] = []
    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **how: called.append(model) or compile_it(model, **how))
    plain = numbers(run(network, data=DATA, numerics=FP32, epochs=2))
    assert not called
    compiled = numbers(run(network, data=DATA, numerics=COMPILED, epochs=2))
    assert len(called) == 1
    for one, other in zip(plain, compiled, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3)
    again = numbers(run(network, data=DATA, numerics=COMPILED, epochs=2))
    assert again == compiled, "a second trial of the architecture gives the same numbers"
    assert numbers(run(network, data=DATA, numerics=FP32, epochs=2)) == plain


def test_who_does_not_compile_does_not_load_the_compiler_and_gets_the_same_steps() -> None:
    program = """
import sys, torch
from trainer.numerics import Numerics

def stepped(optimizer, **settings):
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 3)
    made = optimizer(model.parameters(), lr=0.1, **settings)
    for _ in range(3):
        made.zero_grad()
        model(torch.randn(4, 8)).square().sum().backward()
        made.step()
    copy = optimizer(model.parameters(), lr=0.2, **settings)
    copy.load_state_dict(made.state_dict())
    return [*model.parameters(), torch.tensor([group["lr"] for group in copy.param_groups])]

kinds = [(torch.optim.SGD, {"momentum": 0.9, "fused": True}), (torch.optim.Adam, {"fused": True})]
kinds += [(torch.optim.AdamW, {"fused": True}), (torch.optim.RMSprop, {})]
originals = {kind: kind.step for kind, _ in kinds}
Numerics().apply()
plain = [stepped(kind, **settings) for kind, settings in kinds]
assert "torch._dynamo" not in sys.modules
for kind, step in originals.items():
    kind.step = step
for (kind, settings), ours in zip(kinds, plain):
    assert all(map(torch.equal, ours, stepped(kind, **settings))), kind
assert "torch._dynamo" in sys.modules, "torch itself loads it for nothing no more: trainer/compiler.py can go"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=Path(__file__).parent.parent)


def test_networks_are_loaded_without_the_compiler_and_what_asks_for_it_gets_it() -> None:
    program = """
import sys, torch
from experiments import build_architecture
from experiments.training.costs import measure
from trainer.numerics import Numerics

Numerics().apply()
settings = {"kind": "resnet", "block": "basic", "layers": [1, 1, 1, 1], "width": 8, "tweak": "D", "blocks": {"cbam": {"after": [4]}}}
network = build_architecture(settings, 10)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
network(torch.randn(4, 3, 32, 32)).square().sum().backward()
optimizer.step()
assert not [name for name in sys.modules if name.startswith("torch._dynamo")]

import timm.models.naflexvit, torchvision
kept_out = timm.models.naflexvit.NaFlexRopeIterator.__next__
assert kept_out._torchdynamo_disable
assert timm.layers.disable_compiler(measure) is measure
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
assert torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 2).eq(1).all()
assert torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu") in (True, False)
assert "torch._dynamo" in sys.modules
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported is not torchvision.ops.roi_align.__globals__["is_compile_supported"]
assert torch.compiler.disable.__module__ == "torch.compiler"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=Path(__file__).parent.parent)


def test_whoever_asks_more_of_the_compiler_while_it_is_away_loads_it() -> None:
    program = """
import sys
from trainer.compiler import without_compiler

with without_compiler():
    from torch._dynamo.utils import is_compile_supported as stands_in
    from torch._dynamo import reset
    import torch._dynamo.utils
    assert torch._dynamo.utils.is_compile_supported is not stands_in
assert torch._dynamo.reset is reset
with without_compiler():
    assert sys.modules["torch._dynamo"] is torch._dynamo
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=Path(__file__).parent.parent)


@pytest.mark.parametrize(("batches", "compiled"), [([5, 5, 3, 5], [5, 5, 5]), ([3, 3], [3, 3])])
def test_a_smaller_last_batch_runs_uncompiled(
    batches: list[int], compiled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def code(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return model(images)

    model = nn.Linear(2, 2)
    monkeypatch.setattr(torch, "compile", lambda module, **settings: code)
    step = COMPILED.compiled(model)
    for size in batches:
        assert step(torch.ones(size, 2)).shape == (size, 2)
    assert seen == compiled
