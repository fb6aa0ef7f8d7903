"""`vmap`: a function of one example as a function of many.

The function is traced for one example, and its graph applied to all at once (`compiler/passes/batch.py`). The
derivative is batched likewise, and comes from the function's own tape, so that `detach`, `no_grad` and custom
Functions mean what they mean outside: the pullback of one example is a function of one example, too. So
derivatives of derivatives, vmaps of vmaps and compiled functions need nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.func.mapped import apply_to_all, everywhere
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
        step = chunk_size or max(size, 1)
        parts = []
        for start in range(0, max(size, 1), step):
            stop = min(start + step, size)
            chunk = leaves
            if stop - start < size:
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

    def taken(self, args: tuple[Any, ...]) -> tuple[list[Any], list[int | None], Structure, int]:
        """The arguments' leaves, the axis of each that is mapped, their structure, and how many examples."""
        lead = f"vmap({self.name}, in_dims={self.in_dims}, ...)(<inputs>): "
        if not isinstance(self.in_dims, int | tuple | list):
            raise ArgumentError(
                mirrored(
                    f"{lead}expected `in_dims` to be int or a (potentially nested) tuple matching the "
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
        dims = _spread(self.in_dims, structure)
        if dims is None or len(dims) != len(leaves):
            raise ArgumentError(f"{lead}in_dims is not compatible with the structure of `inputs`")
        places = [self._place(x, d, lead) for x, d in zip(leaves, dims)]
        sizes = [x.shape[d] for x, d in zip(leaves, places) if d is not None]
        if not sizes:
            raise ArgumentError(
                f"{lead}at least one input must be mapped", "", "give an axis for one of them in in_dims"
            )
        if len(set(sizes)) > 1:
            raise ShapeError(
                mirrored(
                    "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                    f"{sizes} for the mapped dimension"
                )
            )
        return leaves, places, structure, sizes[0]

    def _place(self, x: Any, dim: Any, lead: str) -> int | None:
        if dim is None:
            return None
        if not isinstance(x, Tensor):
            raise ArgumentError(
                mirrored(
                    f"{lead}Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap "
                    "over non-Tensor arguments, please use None as the respective in_dim"
                )
            )
        if not -x.ndim <= dim < x.ndim:
            raise ArgumentError(
                mirrored(
                    f"{lead}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
                    f"{x.ndim} so expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}."
                )
            )
        return int(dim) % x.ndim

    def run(
        self, leaves: Sequence[Any], dims: Sequence[int | None], structure: Structure, size: int
    ) -> tuple[list[Tensor], list[int], Structure]:
        """The outputs for these examples, batched along the axes that `out_dims` says; their structure."""
        shaped: list[Structure] = []
        chosen = [k for k, d in enumerate(dims) if d is not None]

        def for_one(examples: Sequence[Tensor]) -> list[Tensor]:
            whole = list(leaves)
            for k, x in zip(chosen, examples, strict=True):
                whole[k] = x
            result = self.func(*unflatten(structure, iter(whole)), **self.options)
            outputs: list[Any] = []
            shaped[:] = [flatten(result, outputs, (Tensor, float, int))]
            for x in outputs:
                if not isinstance(x, Tensor):
                    raise ArgumentError(
                        mirrored(
                            f"vmap({self.name}, ...): `{self.name}` must only return Tensors, got type "
                            f"{type(x)}. Did you mean to set out_dims= to None for output?"
                        )
                    )
            return outputs

        first = [_moved(leaves[k], dims[k] or 0, 0) for k in chosen]
        found = apply_to_all(for_one, first, size, self.randomness)
        places = _spread(self.out_dims, shaped[0])
        if places is None or len(places) != len(found):
            raise ArgumentError(
                f"vmap({self.name}, ..., out_dims={self.out_dims})(<inputs>): out_dims is not compatible "
                "with the structure of `outputs`"
            )
        outputs, axes = [], []
        for (x, batched), place in zip(found, places):
            if place is None and batched:
                raise ArgumentError(
                    mirrored(
                        f"vmap({self.name}, ...): `{self.name}` can not return a BatchedTensor when out_dim "
                        "is None"
                    )
                )
            axis = -1 if place is None else axis_of(place, x.ndim + (not batched), "vmap")
            outputs.append(x if place is None else _moved(everywhere(x, batched, size), 0, axis))
            axes.append(axis)
        return outputs, axes, shaped[0]

    def joined(self, parts: Sequence[tuple[list[Tensor], list[int], Structure]]) -> Any:
        """The results of all chunks as one."""
        outputs, axes, structure = parts[0]
        if len(parts) > 1:
            columns = zip(*(part[0] for part in parts))
            outputs = [moves.concat(list(c), a) if a >= 0 else c[0] for c, a in zip(columns, axes)]
        return unflatten(structure, iter(outputs))


def _spread(dims: Any, structure: Structure) -> list[Any] | None:
    """A number for each leaf, from one for all, or one for each part; None where they do not nest alike."""
    if structure is LEAF:
        return [dims] if dims is None or isinstance(dims, int) else None
    if not isinstance(structure, tuple) or len(structure) != 3:
        return []
    _, names, parts = structure
    if isinstance(dims, dict):
        dims = [dims.get(name) for name in names]
    each = dims if isinstance(dims, tuple | list) else [dims] * len(parts)
    found = [_spread(d, part) for d, part in zip(each, parts)]
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
