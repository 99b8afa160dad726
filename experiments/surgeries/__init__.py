"""Changes of a network that timm builds: one file each, found by its name. See experiments.options.Surgery."""
