"""`utils.hooks`: what a hook's registration gives back."""

from retrograd.runtime.eager.tape import RemovableHandle

__all__ = ["RemovableHandle"]
