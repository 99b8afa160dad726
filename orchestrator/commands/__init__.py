"""One file a command of `ablate`."""
