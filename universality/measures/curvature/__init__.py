"""Hessians of a loss: eigenvalues, densities, traces, and the stability of optimizers."""
