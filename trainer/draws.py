"""Counter-based random draws: a pure function of (seed, epoch, purpose, sample), never of what ran before.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011), on
whole arrays. A sample draws the same numbers whatever batch, worker or device it is in, so a resumed run equals an
uninterrupted one and two cells of a study see the same augmentation draws under one seed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MULTIPLY = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox4x32(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Ten rounds of Philox: `counter` [..., 4] of 32-bit words -> [..., 4] of 32-bit words (held in uint64)."""
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        left, right = _MULTIPLY[0] * c0, _MULTIPLY[1] * c2
        c0, c1, c2, c3 = (
            (right >> _SHIFT) ^ c1 ^ np.uint64(k0),
            right & _MASK,
            (left >> _SHIFT) ^ c3 ^ np.uint64(k1),
            left & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


@dataclass(frozen=True)
class Draws:
    """The draws of one training under `seed`; `epoch` counts from 1 (0 is before training)."""

    seed: int
    epoch: int = 0

    def uniform(self, purpose: str, samples: NDArray[np.int64], count: int = 1) -> NDArray[np.float64]:
        """Uniform in the open interval (0, 1): [len(samples), count], one row a sample index."""
        blocks = -(-count // 4)
        counter = np.empty((len(samples), blocks, 4), dtype=np.uint64)
        counter[..., 0] = samples.astype(np.uint64)[:, None]
        counter[..., 1] = np.uint64(self.epoch)
        counter[..., 2] = np.uint64(zlib.crc32(purpose.encode()))
        counter[..., 3] = np.arange(blocks, dtype=np.uint64)
        words = philox4x32(counter, (self.seed & 0xFFFFFFFF, (self.seed >> 32) & 0xFFFFFFFF))
        numbers: NDArray[np.float64] = (
            words.reshape(len(samples), blocks * 4)[:, :count].astype(np.float64) + 0.5
        ) / 2.0**32
        return numbers

    def permutation(self, purpose: str, size: int) -> NDArray[np.int64]:
        """A permutation of range(size): the samples in the order of their draws."""
        order = np.argsort(self.uniform(purpose, np.arange(size))[:, 0], kind="stable")
        return order.astype(np.int64)

    def torch_seed(self, purpose: str) -> int:
        """A 63-bit seed for torch's own generators: initial weights, dropout."""
        bits = philox4x32(
            np.array([0, self.epoch, zlib.crc32(purpose.encode()), 1], dtype=np.uint64),
            (self.seed & 0xFFFFFFFF, (self.seed >> 32) & 0xFFFFFFFF),
        )
        return int(bits[0]) << 31 | int(bits[1]) >> 1
