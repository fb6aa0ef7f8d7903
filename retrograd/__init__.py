"""Retrograd: tensor code the PyTorch way, compiled together with its derivative.

The front door: the public names, and nothing else.
"""

__version__ = "0.1.0"
