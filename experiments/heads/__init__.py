"""What follows the pooled features: one file each, found by its name. See experiments.options.Head."""
