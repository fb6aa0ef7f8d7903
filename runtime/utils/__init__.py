"""What programs of tensors use beside them: data in batches, checkpoints, handles of hooks."""

from retrograd.runtime.utils import checkpoint, data, dlpack, hooks

__all__ = ["checkpoint", "data", "dlpack", "hooks"]
