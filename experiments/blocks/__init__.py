"""Modules that a staged network can hold, in a stage or after it: one file each. See experiments.options.Block."""
