"""The memory of a search: an Optuna study, asked for configurations and told what they came to.

Nothing else in the project imports optuna.
"""

from __future__ import annotations

import warnings

import optuna

from .memory import Configuration, Memory

# hides what samplers say about dimensions that they draw independently, which is in their documentation
optuna.logging.set_verbosity(optuna.logging.ERROR)
# and that a sampler ignores constraints: see samplers.learns_of_refusals
warnings.filterwarnings("ignore", "Constraints have been set", module="optuna")

__all__ = ["Configuration", "Memory"]
