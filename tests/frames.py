"""Which Python functions run during a call."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any


def python_frames(call: Callable[[], Any]) -> list[str]:
    """Their names, without the call itself. No garbage is collected meanwhile: others may have asked to be
    told of that."""
    names: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            names.append(frame.f_code.co_qualname)

    gc.disable()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return names[1:]
