"""What native eager calls read: records, which `calls.py` writes, and our objects as they lie in memory.

A callable's record is words of 64 bits, each object its address. It begins with `slow`, the Python function
that does the same for any arguments. A further word is a field here; a member of a class of ours that is read
natively, a field of `AnyTensor`, `View` or `Node`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np

from retrograd.compiler.dtypes import ALL
from retrograd.compiler.native.language import Array, At, Inline, Record, external, places, several, words
from retrograd.runtime.native.objects import List, Memory, NdArray, Object, Tuple
from retrograd.runtime.native.pool import Run

MOST = 8
"""Operands of a call, and axes of a view."""
MOST_RECORDED = 3
"""Operands of a call that is recorded."""

_FLOATING = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16))
"""The dtypes that are recorded, and that a number beside them takes."""
_WHOLE = tuple(d.numpy for d in ALL if d.category == 1)
"""Those that an int beside them takes."""
DTYPES: tuple[np.dtype[Any], ...] = (
    *_FLOATING,
    *_WHOLE,
    *[d.numpy for d in ALL if d.category == 0],
)
"""Of others the Python functions are asked."""
FLOATING, SOLID = len(_FLOATING), len(_FLOATING + _WHOLE)
"""How many of these come first."""

READS_RESULT, MET = 1 << 8, 1 << 9
"""Bits of a history, besides one for each operand that the adjoint looks at: it looks at the result, and in
any case."""

NAMES_DTYPE, NAMES_DEVICE, NAMES_GRAD = 1, 2, 4
NAMES = {"dtype": NAMES_DTYPE, "device": NAMES_DEVICE, "requires_grad": NAMES_GRAD}
"""Arguments by name of what makes Tensors, a bit for each."""


# ---- records -----------------------------------------------------------------------------------------------
class Called(Record):
    slow: Object
    arity: int


class Step(Called):
    """Of an op, or of what computes as one does."""

    compute: Object
    """A function of arrays."""
    differentiable: int
    op: Object
    shown: Inline[Object] = several(3)
    """The node's names: between Tensors, with a number on the right, and with one on the left."""
    node_class: Object
    path: Object
    """A view's op, in a tuple."""
    targets: int
    """Operands that are written to, a bit for each."""
    writes: int
    """Whether what computes the list is given them once more, to write there."""
    apart: int
    """Whether no change is recorded, whatever history the operands have."""
    answer: Object | None
    """What makes a result of several."""
    given: int
    """The operand that is the result of an update, counted from 1; 0 for None."""
    tracked: int
    """Whether operations on what is made of nothing are recorded."""
    offset: int
    """Where a view lies in its operand's memory, in bytes."""
    rank: int
    flags: int
    flags_before: int
    """Those of the operand, when the view was made; -1 before that."""
    histories: Inline[int] = several(1 << MOST_RECORDED)
    """For each set of operands that require grad, 0 until Python has recorded such a call, then what the
    adjoint looks at."""
    functions: Inline[Object | None] = several(len(DTYPES))
    """What computes a row, by the operands' dtype."""
    strides_before: Inline[int] = several(MOST)
    extents: Inline[int] = several(MOST)
    strides: Inline[int] = several(MOST)


WATCHED = 2


class Asked(Called):
    """Of what is asked of Tensors (`answers.py`)."""

    compute: Object | None
    floats: int
    """Whether only numbers with a point are told; `WATCHED`, of Tensors that require no grad."""
    answer: Object
    """One for all arguments."""
    apart: int
    """Whether places are told for each axis apart (`finding.py`)."""


Loop = Callable[[Memory, Memory, int, int, Memory | None, Memory | None], None]
"""Given where to read, where to write, rows and columns, and where to read a second and a third operand."""


class Looped(Called):
    """Of a loop over rows (`makers.py`)."""

    loop: Loop | None
    axes: int
    """How many of the last ones are a row."""
    apart: int
    """Whether each element is by itself."""
    bytes: int
    """Of an element."""
    moving: int
    """How many operands have rows of their own; those after them have one, for all rows."""
    parallel: Callable[[Run, Memory, int], None] | None
    """The pool's (`native/pool.py`), once much has been asked for."""


class Described(Called):
    """Of what a Tensor's dtype tells (`members.py`)."""

    answers: Inline[Object | None] = several(len(DTYPES))


class Given(Called):
    """Of data that become a Tensor (`literals.py`)."""

    default: Object
    """The dtype of numbers with a point."""
    here: int
    """Whether new Tensors are on the CPU."""
    shares: int
    """Whether memory is shared where it can be; else elements are copied."""
    numbers: int
    """Whether Python's numbers are taken."""
    names: int
    """Arguments that are taken by name: bits of `NAMES`."""
    convert: Object
    """A function of a Tensor and a dtype, where memory is shared: `Tensor.to`."""


class Keyed(Record):
    """Of a replayed function (`replay.py`)."""

    slow: Object
    unplanned: Object
    plans: Object
    """A dict."""
    find: Object
    lies: int
    """1 where results lie by a rule of the operands' order."""


class Changing(Called):
    """Of an in-place method (`changing.py`)."""

    apart: Object
    """The function out of place."""
    assign: Object
    """What gives a view the value and history of another Tensor: `inplace.assign`."""
    unread: int
    """For each set of tracked operands, a bit: whether the adjoint has not looked at old elements."""
    functions: Inline[Object | None] = several(len(DTYPES))
    """What computes a row of two operands, given where it may be written, by their dtype."""


class Rearranged(Called):
    """Of a Tensor's own axes (`rearranging.py`)."""

    rank: int
    """How many there are afterwards."""
    axes: Inline[int] = several(MOST)
    """Which axis each has been; -1 is a new one."""
    step: Step | None
    """The same as an op, once it has been recorded."""


class Laid(Called):
    """Of results that lie in one way (`laying.py`)."""

    plan: Object
    """What gives them, wherever they lie."""
    rank: int
    """-1 until the first ones have been laid."""
    strides: Inline[int] = several(MOST)
    """In elements."""


class Held(Called):
    """Of an object that holds a Tensor's array (`members.py`)."""

    kind: Object
    """Its class."""
    slot: int
    """Where it holds the array, in bytes."""


class Drawn(Called):
    """Of random numbers (`drawing.py`)."""

    law: Callable[[Memory, Memory, int, Memory], None]
    """Given the generator's state, where to write, how many, and the parameters; operands come before these
    (`drawing.Judge`)."""
    state: Memory
    parameters: Memory
    count: int
    tracked: int
    dtype: Object
    rank: int
    extents: Inline[int] = several(MOST)
    laid: int
    """Whether the elements lie otherwise than in order."""
    steps: Inline[int] = several(MOST)
    """In bytes, from one to the next along each axis, if so."""


class Walked(Called):
    """Of the backward pass (`walking.py`)."""

    plain: Object
    """A dict that has the classes of nodes that are done natively."""
    plans: Object
    """A dict, by op and types."""
    find: Object
    """What gives a node's plan."""
    fit: Object
    """What sums a cotangent to the shape of an operand."""


Words = Any
"""A record, to be written by Python."""


def words_of(cls: type[Record], **contents: int | Sequence[int]) -> Words:
    """A record with these contents, and else zeros."""
    made = (ctypes.c_int64 * _WORDS[cls])()
    write(cls, made, **contents)
    return made


def write(cls: type[Record], record: Words, **contents: int | Sequence[int]) -> None:
    """Put contents into fields of a record: a word, or the first of several."""
    starts = _STARTS[cls]
    for name, content in contents.items():
        at = starts[name]
        if isinstance(content, int):
            record[at] = content
        else:
            record[at : at + len(content)] = content


def place(cls: type[Record], name: str) -> int:
    """Where a field begins."""
    return _STARTS[cls][name]


_RECORDS: tuple[type[Record], ...] = (
    Step, Asked, Looped, Described, Given, Keyed, Changing, Rearranged, Laid, Held, Drawn,
    Walked,
)  # fmt: skip
_STARTS = {cls: {name: part.start for name, part in places(cls).items()} for cls in _RECORDS}
_WORDS = {cls: words(cls) for cls in _RECORDS}


# ---- objects -----------------------------------------------------------------------------------------------
class Function(Object):
    """A callable of ours. Its record is one of these."""

    step: Annotated[Step, At("record")]
    asked: Annotated[Asked, At("record")]
    looped: Annotated[Looped, At("record")]
    described: Annotated[Described, At("record")]
    given: Annotated[Given, At("record")]
    keyed: Annotated[Keyed, At("record")]
    changing: Annotated[Changing, At("record")]
    rearranged: Annotated[Rearranged, At("record")]
    laid: Annotated[Laid, At("record")]
    held: Annotated[Held, At("record")]
    drawn: Annotated[Drawn, At("record")]
    walked: Annotated[Walked, At("record")]


class AnyTensor(Object):
    value: Annotated[NdArray, At("tensor_value")]
    requires_grad: Annotated[Object, At("tensor_requires_grad")]
    edge: Annotated[Object, At("tensor_edge")]
    grad: Annotated[Object, At("tensor_grad")]
    counter: Annotated[List, At("tensor_counter")]
    view: Annotated[View, At("tensor_view")]
    leaf: Annotated[Object, At("tensor_leaf")]


class View(Object):
    base: Annotated[AnyTensor, At("view_base")]
    path: Annotated[Object, At("view_path")]
    several: Annotated[Object, At("view_several")]
    tracked: Annotated[Object, At("view_tracked")]
    version: Annotated[Object, At("view_version")]


class Node(Object):
    order: Annotated[Object, At("node_order")]
    edges: Annotated[Tuple, At("node_edges")]
    hooks: Annotated[Object, At("node_hooks")]
    op: Annotated[Object, At("node_op")]
    inputs: Annotated[Tuple, At("node_inputs")]
    out: Annotated[Object, At("node_out")]
    guards: Annotated[List, At("node_guards")]
    shown: Annotated[Object, At("node_shown")]


class Hooks(Object):
    after: Annotated[Object, At("hooks_after")]


class OwnDtype(Object):
    """Of ours."""

    numpy: Annotated[Object | None, At("own_dtype_numpy")]


class Slices(Object):
    order: Annotated[Object, At("slices_order")]
    edges: Annotated[Tuple, At("slices_edges")]
    hooks: Annotated[Object, At("slices_hooks")]
    path: Annotated[Object, At("slices_path")]
    shown: Annotated[Object, At("slices_shown")]


TENSOR, VIEW = external(Object, "tensor_type"), external(Object, "view_type")
NO_COUNTER, NO_VIEW = external(List, "_Py_NoneStruct"), external(View, "_Py_NoneStruct")
INFERENCE_VIEW = external(Object, "inference_view_type")
OPEN_TRACES = external(Array[int], "open_traces")
INFERRING = external(Array[int], "inferring")
INFERENCE = external(List, "inference")
QUIET_CONTEXT, PLACING_CONTEXT = external(Object, "quiet_context"), external(Object, "placing_context")
ASARRAY = external(Object, "asarray")
EXCEPTION = external(Array[Object], "PyExc_Exception")
