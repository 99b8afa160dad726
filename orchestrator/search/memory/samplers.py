"""Optuna's sampler and pruner for a search."""

from __future__ import annotations

import optuna

from experiments.search.plan import SearchPlan


def sampler_of(search: SearchPlan, told: int) -> optuna.samplers.BaseSampler:
    """The search's sampler. told: how many configurations there are; the seed depends on it, so that a search that goes
    on does not repeat its first draws."""
    seed = (search.words.seed + 1_000_003 * told) % 2**32
    match search.sampler:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=_population(search))
        case "gp":
            return optuna.samplers.GPSampler(seed=seed)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed)
        case _:
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_startup(search))


def learns_of_refusals(sampler: str) -> bool:
    """Whether a sampler learns from configurations that a constraint kept from training: they have no value.

    The others only use configurations with a value (Optuna's documentation of GPSampler, NSGAIISampler, CmaEsSampler).
    """
    return sampler == "tpe"


def at_random(search: SearchPlan, told: int) -> optuna.samplers.BaseSampler:
    """A random sampler, for a turn of one that keeps suggesting useless configurations. told: as in `sampler_of`."""
    return optuna.samplers.RandomSampler(seed=(search.words.seed + 7_368_787 * (told + 1)) % 2**32)


def _startup(search: SearchPlan) -> int:
    """Configurations before TPE begins to learn: Optuna's 10; half of a budget below 20, but at least 3."""
    trials = search.words.budget.trials
    return 10 if trials is None else max(3, min(10, trials // 2))


def _population(search: SearchPlan) -> int:
    """Size of a generation of NSGA-II: Optuna's 50, or a fifth of the budget if that is less, but at least 4."""
    trials = search.words.budget.trials
    return 50 if trials is None else max(4, min(50, trials // 5))


def pruner_of(search: SearchPlan) -> optuna.pruners.BasePruner:
    """Optuna's own rule of the same name, for the inline executor, which has no rules of Ray's."""
    rule = search.pruning
    match rule.kind:
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(rule.grace, reduction_factor=rule.factor or 3)
        case "hyperband":
            epochs = search.study.recipe.epochs
            return optuna.pruners.HyperbandPruner(rule.grace, epochs, reduction_factor=rule.factor or 3)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=rule.grace)
        case _:
            return optuna.pruners.NopPruner()
