"""What is done to many parameters at once, to their gradients, and to sequences of many lengths."""

from retrograd.runtime.nn.utils import parametrizations, parametrize, rnn
from retrograd.runtime.nn.utils.clip import clip_grad_norm_, clip_grad_value_, get_total_norm
from retrograd.runtime.nn.utils.vectors import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "vector_to_parameters",
]
