"""One file per command of `ablate`."""
