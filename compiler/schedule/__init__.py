"""Loops to Loops: how a target walks the loops. A schedule never changes a value."""
