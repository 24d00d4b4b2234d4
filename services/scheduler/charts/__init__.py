"""Charts of simulated stretches."""
