"""Ops on Tensors: evaluated at once or written into a graph, and recorded on the tape."""
