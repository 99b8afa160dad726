"""Update rules: one file each, found by its name. See experiments.options.Optimizer."""
