"""What is said about effects that a design does not identify, and how the others relate to the report's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.language.wording import first_few

from .effects import Unidentified
from .least_squares import Term

POOLED = (
    "One model of all runs, with the same spread in every cell and without what it can't tell: its numbers may differ "
    "from the answer's, which compares pairs of cells seed by seed and decides."
)
"""Said where estimates by least squares stand in the same report as those of the answer."""


def untold(found: Sequence[Unidentified], name: Callable[[Term], str]) -> list[str]:
    """A sentence on what never ran, and one on what cannot be told from what."""
    never = [name(effect.factors) for effect in found if not effect.aliases]
    # effects that are aliases of each other are mentioned once
    groups = {
        frozenset(
            [effect.factors, *effect.aliases]
        ): f"{name(effect.factors)} from {first_few([name(term) for term in effect.aliases])}"
        for effect in reversed(found)
        if effect.aliases
    }
    sentences = [f"No run tells of {first_few(never)}."] if never else []
    if groups:
        sentences.append(f"These runs do not tell {first_few([*groups.values()][::-1], '; ')}.")
    return sentences
