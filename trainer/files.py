"""Names of the files that a training leaves in its folder."""

JOURNAL = "journal.jsonl"
"""A line an epoch."""

CHECKPOINT = "last.pt"
"""All that an interrupted training needs to go on."""

WEIGHTS = "weights.safetensors"
"""The selected epoch's weights, of a finished training."""
