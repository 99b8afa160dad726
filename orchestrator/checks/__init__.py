"""The checks of `ablate doctor`: one file per subject, one small function per check."""
