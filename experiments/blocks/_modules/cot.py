"""The module of a contextual transformer block; see experiments.blocks.cot."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Cot(nn.Module):
    """Static context K1 by convolution, dynamic context K2 by local attention, their gated sum: all [N, C, H, W]."""

    def __init__(self, channels: int, kernel_size: int, groups: int, heads: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.heads = heads
        self.key = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        hidden = max(1, channels // 2)
        weights = heads * kernel_size**2
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, weights, 1),
            nn.GroupNorm(heads, weights),
        )
        self.value = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.norm = nn.BatchNorm2d(channels)
        squeezed = max(32, channels // 2)
        self.fusion = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False),
            nn.BatchNorm2d(squeezed),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, 2 * channels, 1),
        )

    def forward(self, query: torch.Tensor) -> torch.Tensor:
        """query: the map itself, of which keys and values are made."""
        static = self.key(query)
        weights = self.attention(torch.cat([query, static], dim=1))
        dynamic = functional.silu(self.norm(self._aggregate(self.value(query), weights)))
        pooled = (dynamic + static).mean((2, 3), keepdim=True)
        gates = self.fusion(pooled).reshape(*static.shape[:2], 2, 1, 1).softmax(dim=2)
        fused: torch.Tensor = dynamic * gates[:, :, 0] + static * gates[:, :, 1]
        return fused

    def _aggregate(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """At each position, the sum of the k x k values around it (0 outside the map), weighted for that position.

        Channel c has the weights of head c modulo `heads`.
        """
        n, channels, height, width = values.shape
        neighbours = functional.unfold(values, self.kernel_size, padding=self.kernel_size // 2)
        size = self.kernel_size**2
        neighbours = neighbours.reshape(n, channels // self.heads, self.heads, size, height, width)
        weights = weights.reshape(n, 1, self.heads, size, height, width)
        return (neighbours * weights).sum(dim=3).reshape(n, channels, height, width)
