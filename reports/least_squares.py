"""Ordinary least squares on named columns that may depend on each other: what they identify, and the estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .statistics import Floats

Term = tuple[tuple[str, str], ...]
"""One (factor, option): a main effect; two: a two-way interaction; ((block, level),): a block; (): the intercept."""

Contrast = Mapping[Term, float]
"""A weighted sum of coefficients."""

_NULL = 1e-10
"""An eigenvalue below this share of the largest is zero: the columns hold 0 and 1."""

_NONE = 1e-7
"""Entries of projections below this are zero: the columns hold 0 and 1."""


class LeastSquares:
    """A fit of values to columns of 0 and 1, each of shape (rows,).

    Where several sets of coefficients fit equally well, it has the one with the smallest norm.
    """

    def __init__(self, columns: Mapping[Term, Floats], values: Floats) -> None:
        self.place = {term: index for index, term in enumerate(columns)}
        self.matrix = np.stack([*columns.values()], axis=1)
        powers, vectors = np.linalg.eigh(self.matrix.T @ self.matrix)
        real = powers > _NULL * max(1.0, float(powers[-1]))
        self.null = vectors[:, ~real] @ vectors[:, ~real].T
        self.inverse = (vectors[:, real] / powers[real]) @ vectors[:, real].T
        self.complete = bool(real.all())
        """Whether every coefficient is identified."""

        self.df = len(values) - int(real.sum())
        self.coefficients = self.inverse @ (self.matrix.T @ values)
        residuals = values - self.matrix @ self.coefficients
        self.sd = float(np.sqrt(residuals @ residuals / self.df)) if self.df > 0 else None

    def _weights(self, contrast: Contrast) -> Floats:
        weights = np.zeros(len(self.place))
        for term, weight in contrast.items():
            weights[self.place[term]] = weight
        return weights

    def identifies(self, contrast: Contrast) -> bool:
        """Whether all sets of coefficients that fit equally well give the contrast the same value."""
        return bool(np.abs(self.null @ self._weights(contrast)).max() < _NONE)

    def estimate(self, contrast: Contrast) -> tuple[float, float]:
        """The contrast, and its standard error as a multiple of `sd`."""
        weights = self._weights(contrast)
        return float(weights @ self.coefficients), float(np.sqrt(max(0.0, weights @ self.inverse @ weights)))

    def aliases(self, term: Term) -> tuple[Term, ...]:
        """The terms whose coefficients could make up for a change of this term's coefficient."""
        return _partners(self.null[self.place[term]], [*self.place], term)

    def aliases_beyond(self, terms: Sequence[Term], columns: Mapping[Term, Floats]) -> dict[Term, tuple[Term, ...]]:
        """The aliases of terms whose `columns` are added to those of this fit.

        Of each term: the other added ones that it can't be told from; if there are none, the terms of this fit that it
        repeats.
        """
        if not terms:
            return {}
        added = np.stack([columns[term] for term in terms], axis=1)
        repeated = self.inverse @ (self.matrix.T @ added)
        beyond = added - self.matrix @ repeated
        powers, vectors = np.linalg.eigh(beyond.T @ beyond)
        nothing = vectors[:, powers <= _NULL * max(1.0, float(powers[-1]))]
        null = nothing @ nothing.T
        return {
            term: _partners(null[index], terms, term) or _partners(repeated[:, index], [*self.place], term)
            for index, term in enumerate(terms)
        }


def _partners(weights: Floats, terms: Sequence[Term], term: Term) -> tuple[Term, ...]:
    named = zip(terms, weights, strict=True)
    return tuple(other for other, weight in named if abs(weight) > _NONE and other not in (term, ()))
