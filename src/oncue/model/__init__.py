"""Weights and kernels: loading a model folder, and the layers that run faster than stock."""
