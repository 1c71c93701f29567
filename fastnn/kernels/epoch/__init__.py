"""Compiled epochs: mini-batches from inputs to new parameters, for each kind of training."""
