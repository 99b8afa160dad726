"""All hooks of a training as one: at each point, those that work in the epoch, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .hooks import Batch, Hook, Moment, acts_at

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from .draws import Draws
    from .geometry import Frame


class Chain(Hook):
    """Each point of Hook, of all hooks: what one returns, the next is given."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self.hooks = tuple(hooks)
        self.working = self.hooks
        """Those that work in the epoch that was started last."""

    def act_at(self, *points: str) -> bool:
        """Whether any hook, in any epoch, overrides one of these points of Hook."""
        return any(acts_at(type(hook), point) for hook in self.hooks for point in points)

    def start(self, model: nn.Module) -> None:
        """See Hook."""
        for hook in self.hooks:
            hook.start(model)

    def epoch_start(self, epoch: int) -> None:
        """See Hook."""
        self.working = self._those_of(epoch)
        for hook in self.working:
            hook.epoch_start(epoch)

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        """See Hook."""
        for hook in self.working:
            frame = hook.place(frame, samples, draws)
        return frame

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        """See Hook."""
        for hook in self.working:
            batch = hook.augment(batch, draws)
        return batch

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        """See Hook."""
        for hook in self.working:
            batch = hook.mix(batch, draws)
        return batch

    def rate(self, factor: float, moment: Moment) -> float:
        """See Hook."""
        for hook in self.working:
            factor = hook.rate(factor, moment)
        return factor

    def loss(self, value: torch.Tensor, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Hook."""
        for hook in self.working:
            value = hook.loss(value, logits, batch)
        return value

    def gradients(self, model: nn.Module) -> None:
        """See Hook."""
        for hook in self.working:
            hook.gradients(model)

    def step_end(self, model: nn.Module) -> None:
        """See Hook."""
        for hook in self.working:
            hook.step_end(model)

    def epoch_end(self, epoch: int) -> None:
        """See Hook."""
        for hook in self.working:
            hook.epoch_end(epoch)

    def networks_in(self, epoch: int) -> dict[str, nn.Module]:
        """The further networks of the hooks that work in `epoch`, by the prefix of their metrics: `ema_`.

        Raises UserError where two have one name.
        """
        found: dict[str, nn.Module] = {}
        for hook in self._those_of(epoch):
            for name, network in hook.networks().items():
                if f"{name}_" in found:
                    raise UserError(
                        f"two refinements give a network {name!r}, whose metrics would be one; expected two names"
                    )
                found[f"{name}_"] = network
        return found

    def states(self) -> list[dict[str, Any]]:
        """What a resumed training needs of each hook."""
        return [hook.state_dict() for hook in self.hooks]

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up `states` of the same hooks; raises ValueError for another number of them."""
        for hook, state in zip(self.hooks, states, strict=True):
            hook.load_state_dict(dict(state))

    def _those_of(self, epoch: int) -> tuple[Hook, ...]:
        return tuple(hook for hook in self.hooks if hook.works_in(epoch))
