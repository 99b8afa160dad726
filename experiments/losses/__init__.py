"""Training criteria: one file each, found by its name. See experiments.options.Loss."""
