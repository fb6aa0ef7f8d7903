"""What Python writes into the record of a native call, when it has done what the call could not.

In flow a record, the operands of a call and the result that Python made; into the record flows what the
adjoint looks at where these operands require grad, and where a view lies. From then on such calls run
natively.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Op
from retrograd.runtime.eager.instant.part import native_function
from retrograd.runtime.eager.instant.records import (
    MET,
    MOST,
    MOST_RECORDED,
    READS_RESULT,
    Step,
    Words,
    place,
    words_of,
    write,
)
from retrograd.runtime.eager.kinds import Kind
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.native.grammar import WRITEABLE
from retrograd.runtime.tensor import Tensor

Function = Callable[..., Any]


def step_words(op: Op, kind: Kind, arity: int, shown: tuple[str, str, str], differentiable: bool) -> Words:
    """The record of an op, before anything is known of its histories and layouts."""
    return words_of(
        Step, arity=arity, differentiable=differentiable, op=id(op), shown=[id(name) for name in shown],
        node_class=id(kind.node_class),
    )  # fmt: skip


def taught(
    entry: str, words: Words, slow: Function, learn: Callable[[Sequence[Any], Tensor], None], *kept: object,
    through: Callable[[Function], Function] = lambda learning: learning,
) -> Function:  # fmt: skip
    """The callable, whose record is told what there is to learn of each result that Python makes; which it
    is asked for `through` another function."""

    @functools.wraps(slow)
    def learning(*args: Any, **kwargs: Any) -> Any:
        result = slow(*args, **kwargs)
        if type(result) is Tensor and type(result._value) is np.ndarray and not kwargs:
            learn(args, result)
        return result

    asked = through(learning)
    write(Step, words, slow=id(asked))
    return native_function(entry, slow, words, (asked, *kept))


def learn_history(words: Words, kind: Kind, operands: Sequence[Any], result: Tensor) -> None:
    """What the adjoint looks at where these operands require grad."""
    if len(operands) > MOST_RECORDED or not isinstance(result._edge, OpNode):
        return
    wanted = sum(isinstance(x, Tensor) and x._requires_grad and 1 << k for k, x in enumerate(operands))
    needs = kind.needs.get(1 << len(operands) | wanted)
    if needs is not None:
        looks = sum(1 << k for k, needed in enumerate(needs.inputs) if needed)
        words[place(Step, "histories") + wanted] = MET | looks | (READS_RESULT if needs.out else 0)


def learn_layout(words: Words, array: Any, result: Tensor) -> None:
    """Where the result lies in the operand's memory, if it does."""
    part: Any = result._value
    if result._view is None or type(array) is not np.ndarray or max(array.ndim, part.ndim) > MOST:
        return
    write(
        Step, words, offset=part.ctypes.data - array.ctypes.data, rank=part.ndim, extents=part.shape,
        strides=part.strides, flags=part.flags.num & WRITEABLE, strides_before=array.strides,
        flags_before=array.flags.num,
    )  # fmt: skip
