"""What a step of a recurrent network does element by element, an op for each part; for `nn.cells`.

Gates in another dtype than the state, as in autocast, and the state are promoted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from retrograd.compiler.ops import recurrent
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.functions.public import promoted
from retrograd.runtime.tensor import Tensor


def _of_one_dtype(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(step)
    def call(*operands: Tensor) -> Tensor:
        return step(*promoted(*operands))

    return replayed(call)


lstm_cell = _of_one_dtype(recurrent.lstm_cell)
lstm_hidden = _of_one_dtype(recurrent.lstm_hidden)
gru_hidden = _of_one_dtype(recurrent.gru_hidden)
