"""The memory that training frees stays with its process, until its trial ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trainer import allocator

RESIDENT = """
import torch
from trainer import allocator
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
def work():
    kept = [torch.ones(6 << 18) for _ in range(50)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
import resource, threading
torch.set_num_threads(1)
before = resident()
# trials train in a thread of Tune's
for _ in range(2):
    thread = threading.Thread(target=work); thread.start(); thread.join()
kept, counted = resident() - before, faults()
work()
counted = faults() - counted
allocator.give_back()
print(kept, counted, resident() - before)
"""


def measured(settings: dict[str, str]) -> list[int]:
    """MB kept after 300 MB were freed, pages that came in again, MB kept after all was given back."""
    plain = {name: value for name, value in os.environ.items() if name not in allocator.SETTINGS}
    told = subprocess.run(
        [sys.executable, "-c", RESIDENT], env=plain | settings, capture_output=True, text=True, check=True
    )
    return [int(word) for word in told.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_what_is_freed_is_kept_and_given_back() -> None:
    kept, faults, left = measured(allocator.SETTINGS)
    assert kept > 250
    # a few more where the machine is short of memory meanwhile
    assert faults < 4000
    assert left < 50
    assert measured({})[1] > 10_000


def test_a_users_own_settings_come_first() -> None:
    script = "import os; os.environ['MALLOC_ARENA_MAX'] = '7'; import orchestrator.schedule; print(dict(os.environ))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "'MALLOC_ARENA_MAX': '7'" in told
    assert "'MALLOC_MMAP_MAX_': '0'" in told


@pytest.mark.slow
def test_workers_have_the_settings() -> None:
    script = """
from orchestrator.schedule import start
import os, ray
with start(cpus=1):
    print(ray.get(ray.remote(lambda: dict(os.environ)).remote()))
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert all(f"'{name}': '{value}'" in told for name, value in allocator.SETTINGS.items())
