"""Seeds until decided: when a comparison is settled, and what is said of it."""
