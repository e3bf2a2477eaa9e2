"""Eigenvalues and singular values of weights and features."""
