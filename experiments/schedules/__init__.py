"""Courses of the learning rate: one file each, found by its name. See experiments.options.Schedule."""
