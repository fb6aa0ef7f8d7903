"""Optimisers, as PyTorch's `torch.optim`; `lr_scheduler` changes their learning rates.

To add one, write its formula in a file of its own, and name it here.
"""

from retrograd.runtime.optim import lr_scheduler, swa_utils
from retrograd.runtime.optim.adagrad import Adadelta, Adagrad
from retrograd.runtime.optim.adam import Adam, AdamW
from retrograd.runtime.optim.adam_kin import Adamax, NAdam, RAdam
from retrograd.runtime.optim.factored import Adafactor, Muon
from retrograd.runtime.optim.lbfgs import LBFGS
from retrograd.runtime.optim.optimizer import Optimizer
from retrograd.runtime.optim.rmsprop import RMSprop
from retrograd.runtime.optim.sgd import SGD
from retrograd.runtime.optim.signs import ASGD, Rprop

__all__ = [
    "ASGD",
    "Rprop",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
    "swa_utils",
]
