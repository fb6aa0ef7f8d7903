"""Which modes this thread is in, told without Python: native functions around those of `modes.py`.

In flows nothing; out flow functions that say whether one of some fields of `modes.STATE` is on. A further
question is a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import intern

from retrograd.runtime import modes
from retrograd.runtime.eager.instant.part import available, native_function
from retrograd.runtime.eager.instant.records import Asked, words_of


def _asking(slow: Callable[[], bool], field: str, other: str = "") -> Callable[[], bool]:
    """Whether the field is on, or the other, if there is one."""
    if not available():
        return slow
    first, second = intern(field), intern(other)
    words = words_of(Asked, slow=id(slow), compute=id(second) if other else 0, answer=id(first))
    return native_function("retrograd_is_on", slow, words, (slow, first, second))


is_grad_enabled = _asking(modes.is_grad_enabled, "grad", "claimed")
is_inference_mode_enabled = _asking(modes.is_inference_mode_enabled, "inference")
is_anomaly_enabled = _asking(modes.is_anomaly_enabled, "anomaly")
is_anomaly_check_nan_enabled = _asking(modes.is_anomaly_check_nan_enabled, "check_nan")
