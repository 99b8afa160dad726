"""Training refinements: one file each, found by its name. See experiments.options.Refinement."""
