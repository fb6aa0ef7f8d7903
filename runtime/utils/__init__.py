"""What programs of tensors use beside them: data in batches."""

from retrograd.runtime.utils import data

__all__ = ["data"]
