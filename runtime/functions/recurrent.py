"""What a step of a recurrent network does element by element, an op for each part; for `nn.cells`."""

from __future__ import annotations

from retrograd.compiler.ops import recurrent
from retrograd.runtime.eager.replay import replayed

lstm_cell = replayed(recurrent.lstm_cell)
lstm_hidden = replayed(recurrent.lstm_hidden)
gru_hidden = replayed(recurrent.gru_hidden)
