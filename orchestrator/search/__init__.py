"""`ablate search`: runs the sampler's suggestions as trials, while the budget lasts."""
