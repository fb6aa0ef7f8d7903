"""Optimisers: plain users of the Tensor API."""
