"""`vmap`: a function of one example as a function of many.

The function is run once at every call, with Tensors that have the shape of one example and stand for all
(`batching.BatchTrace`): each op is applied to all at once, as it comes (`compiler/passes/batch.py`). What it
is applied to are Tensors of the world outside, with their histories; so derivatives, vmaps of vmaps and
compiled functions need nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.record import NamedTuple
from retrograd.runtime import tracing
from retrograd.runtime.func.batching import BatchTrace
from retrograd.runtime.func.known import Known, everywhere
from retrograd.runtime.functions.public import axis_of
from retrograd.runtime.pytree import LEAF, Structure, flatten, unflatten
from retrograd.runtime.tensor import Tensor


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """The function that applies `func` along the axes `in_dims` of its arguments (None: the same for all) and
    stacks the results along `out_dims`.

    `in_dims` and `out_dims` are a number for all, or nest as arguments and results do. Random numbers are an
    error, the "same" for all examples or "different". At most `chunk_size` examples are worked on at a time.
    """
    if randomness not in ("error", "different", "same"):
        raise ArgumentError(
            mirrored(
                f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
            )
        )
    if chunk_size is not None and chunk_size < 1:
        raise ArgumentError(
            mirrored(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
        )

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, in_dims, out_dims, randomness, kwargs)
        leaves, dims, structure, size = call.taken(args)
        if chunk_size is None or size <= chunk_size:
            return call.joined([call.run(leaves, dims, structure, size)])
        step, parts = chunk_size, []
        for start in range(0, size, step):
            stop = min(start + step, size)
            chunk = [x if d is None else moves.narrow(x, d, start, stop) for x, d in zip(leaves, dims)]
            parts.append(call.run(chunk, dims, structure, stop - start))
        return call.joined(parts)

    return mapped


class _Call(NamedTuple):
    """One call of a mapped function."""

    func: Callable[..., Any]
    in_dims: Any
    out_dims: Any
    randomness: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return getattr(self.func, "__name__", repr(self.func))

    @property
    def lead(self) -> str:
        """How errors begin."""
        return f"vmap({self.name}, in_dims={self.in_dims}, ...)(<inputs>): "

    def taken(self, args: tuple[Any, ...]) -> tuple[list[Any], list[int | None], Structure, int]:
        """The arguments' leaves, the axis of each that is mapped, their structure, and how many examples."""
        if not isinstance(self.in_dims, int | tuple | list):
            raise ArgumentError(
                mirrored(
                    f"{self.lead}expected `in_dims` to be int or a (potentially nested) tuple matching the "
                    f"structure of inputs, got: {type(self.in_dims)}."
                )
            )
        if not args:
            raise ArgumentError(
                mirrored(
                    f"vmap({self.name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are "
                    "trying to vmap over a function with no inputs. The latter is unsupported."
                )
            )
        leaves: list[Any] = []
        structure = flatten(args, leaves, (Tensor, float, int))
        dims = _spread(self.in_dims, structure, len(leaves))
        if dims is None or len(dims) != len(leaves):
            raise ArgumentError(f"{self.lead}in_dims is not compatible with the structure of `inputs`")
        places = [self._place(x, d) for x, d in zip(leaves, dims)]
        sizes = [x.shape[d] for x, d in zip(leaves, places) if d is not None]
        if not sizes:
            raise ArgumentError(
                f"{self.lead}at least one input must be mapped", "", "give an axis for one of them in in_dims"
            )
        if sizes.count(sizes[0]) < len(sizes):
            raise ShapeError(
                mirrored(
                    "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                    f"{sizes} for the mapped dimension"
                )
            )
        return leaves, places, structure, sizes[0]

    def _place(self, x: Any, dim: Any) -> int | None:
        if dim is None:
            return None
        if not isinstance(x, Tensor):
            raise ArgumentError(
                mirrored(
                    f"{self.lead}Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot "
                    "vmap over non-Tensor arguments, please use None as the respective in_dim"
                )
            )
        ndim = x._value.ndim
        if not -ndim <= dim < ndim:
            raise ArgumentError(
                mirrored(
                    f"{self.lead}Got in_dim={dim} for some input, but that input is a Tensor of "
                    f"dimensionality {ndim} so expected in_dim to satisfy -{ndim} <= in_dim < {ndim}."
                )
            )
        return int(dim) % ndim

    @tracing.unbroken
    def run(
        self, leaves: Sequence[Any], dims: Sequence[int | None], structure: Structure, size: int
    ) -> tuple[list[Tensor], list[int | None], Structure]:
        """The outputs for these examples, batched along the axes that `out_dims` says; their structure."""
        chosen = [k for k, d in enumerate(dims) if d is not None]
        whole = list(leaves)
        moved = [_moved(leaves[k], dims[k] or 0, 0) for k in chosen]
        with BatchTrace(size, self.randomness) as trace:
            examples = [trace.entered(x) for x in moved]
            for k, x in zip(chosen, examples):
                whole[k] = x
            result = self.func(*unflatten(structure, iter(whole)), **self.options)
            outputs: list[Any] = []
            shaped = flatten(result, outputs, (Tensor, float, int))
            for x in outputs:
                if not isinstance(x, Tensor):
                    raise ArgumentError(
                        mirrored(
                            f"vmap({self.name}, ...): `{self.name}` must only return Tensors, got type "
                            f"{type(x)}. Did you mean to set out_dims= to None for output?"
                        )
                    )
            found = [trace.whole(x) for x in outputs]
            updates = trace.updates(examples, moved)
        for x, known in updates:
            x.copy_(known.tensor)
        return self._placed(found, shaped, size)

    def _placed(
        self, found: Sequence[Known], structure: Structure, size: int
    ) -> tuple[list[Tensor], list[int | None], Structure]:
        """The outputs along the axes that `out_dims` says."""
        places = _spread(self.out_dims, structure, len(found))
        if places is None or len(places) != len(found):
            raise ArgumentError(
                f"vmap({self.name}, ..., out_dims={self.out_dims})(<inputs>): out_dims is not compatible "
                "with the structure of `outputs`"
            )
        outputs, axes = [], []
        for known, place in zip(found, places):
            x, batched = known.tensor, known.batched
            if place is None and batched:
                raise ArgumentError(
                    mirrored(
                        f"vmap({self.name}, ...): `{self.name}` can not return a BatchedTensor when out_dim "
                        "is None"
                    )
                )
            axis = place
            if place:
                axis = axis_of(place, x.ndim + (not batched), "vmap")
            outputs.append(x if axis is None else _moved(everywhere(x, batched, size), 0, axis))
            axes.append(axis)
        return outputs, axes, structure

    def joined(self, parts: Sequence[tuple[list[Tensor], list[int | None], Structure]]) -> Any:
        """The results of all chunks as one."""
        outputs, axes, structure = parts[0]
        if len(parts) > 1:
            columns = zip(*(part[0] for part in parts))
            outputs = [c[0] if a is None else moves.concat(list(c), a) for c, a in zip(columns, axes)]
        return unflatten(structure, iter(outputs))


def _spread(dims: Any, structure: Structure, count: int) -> list[Any] | None:
    """A number for each of so many leaves, from one for all, or one for each part; None where they do not
    nest alike."""
    return [dims] * count if isinstance(dims, int) else _nested(dims, structure)


def _nested(dims: Any, structure: Structure) -> list[Any] | None:
    if structure is LEAF:
        return [dims] if dims is None or isinstance(dims, int) else None
    if not isinstance(structure, tuple) or len(structure) != 3:
        return []
    _, names, parts = structure
    if isinstance(dims, dict):
        dims = [dims.get(name) for name in names]
    each = dims if isinstance(dims, tuple | list) else [dims] * len(parts)
    found = [_nested(d, part) for d, part in zip(each, parts)]
    if len(each) != len(parts) or any(x is None for x in found):
        return None
    return [d for x in found if x is not None for d in x]


def _moved(x: Tensor, source: int, target: int) -> Tensor:
    """One axis at another place."""
    if source == target:
        return x
    order = [k for k in range(x.ndim) if k != source]
    order.insert(target, source)
    turned: Tensor = moves.permute(x, order)
    return turned
