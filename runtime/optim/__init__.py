"""Optimisers, as PyTorch's `torch.optim`; `lr_scheduler` changes their learning rates.

To add one, write its formula in a file of its own, and name it here.
"""

from retrograd.runtime.optim.adam import Adam, AdamW
from retrograd.runtime.optim.optimizer import Optimizer
from retrograd.runtime.optim.sgd import SGD

__all__ = [
    "Adam",
    "AdamW",
    "Optimizer",
    "SGD",
]
