"""What is done to the gradients or the values of many parameters at once."""

from retrograd.runtime.nn.utils.clip import clip_grad_norm_, clip_grad_value_, get_total_norm
from retrograd.runtime.nn.utils.vectors import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]
