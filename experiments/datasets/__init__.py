"""Data sets: one file each, found by its name. See experiments.options.Dataset."""
