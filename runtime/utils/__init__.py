"""What programs of tensors use beside them: data in batches, and checkpoints."""

from retrograd.runtime.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
