"""Modules and losses: plain users of the Tensor API."""
