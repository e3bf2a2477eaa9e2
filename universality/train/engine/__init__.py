"""Training: one loop, torch's own optimizers, probes as callbacks at steps known beforehand."""
