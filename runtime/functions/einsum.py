"""Einstein summation: an equation and its operands in, a chain of pairwise products out.

`_Term` is a tensor whose axes have letters. Letters that appear in one operand only are summed at once; then
the pair whose product is smallest is contracted with `_product`, until one is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import Any

from retrograd.compiler.dtypes import int64
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import reduce
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.shape import Permute
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions.arranging import diagonal
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import public
from retrograd.runtime.functions.shaping import movedim
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

_SMALL = "abcdefghijklmnopqrstuvwxyz"
_LETTERS = _SMALL + _SMALL.upper()


class _Term(NamedTuple):
    """A tensor and a letter for each of its axes, all different."""

    value: Tensor
    letters: str

    def sizes(self) -> dict[str, int]:
        return dict(zip(self.letters, self.value.shape))


@public("einsum", replay=True)
def einsum(equation: Any = None, *operands: Any) -> Tensor:
    """The sum of products that the equation says: `einsum("bij,bjk->bik", a, b)`.

    An ellipsis stands for axes that broadcast; without `->` the result has the letters that occur once, in
    alphabetical order. Raises ArgumentError for a malformed equation, ShapeError for sizes that disagree.
    """
    if isinstance(equation, Tensor) and operands:
        equation, *operands = _of_lists(equation, *operands)  # type: ignore[assignment]  # a list serves as a tuple
    tensors: Sequence[Tensor] = (
        operands[0] if len(operands) == 1 and isinstance(operands[0], Sequence) else operands
    )
    if not operands:
        raise ArgumentError(
            mirrored(
                "einsum(): must specify the equation string and at least one operand, or at least one "
                "operand and its subscripts list"
            )
        )
    if not isinstance(equation, str):
        kind = type(equation).__name__
        raise ArgumentError(mirrored(f"einsum(): argument 'equation' (position 1) must be str, not {kind}"))
    for k, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise ArgumentError(
                mirrored(f"expected Tensor as element {k} in argument 1, but got {type(x).__name__}")
            )
    inputs, output = _parse(equation, [x.ndim for x in tensors])
    terms = [_diagonals(_Term(x, letters), equation) for x, letters in zip(tensors, inputs)]
    if len(terms) == 1:
        return _summed(_permuted(terms[0], output), set(output)).value
    terms = _broadcast(terms, equation)
    while len(terms) > 1:
        i, j = min(combinations(range(len(terms)), 2), key=lambda pair: _cost(terms, pair, output))
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        needed = set(output).union(*(term.letters for term in rest))
        one, other = (_summed(terms[k], needed | set(terms[m].letters)) for k, m in ((i, j), (j, i)))
        terms = [*rest, _contract(one, other, needed, output)]
    value, letters = _summed(terms[0], set(output))
    found: Tensor = moves.permute(value, [letters.index(letter) for letter in output])
    if len(tensors) > 2:  # the order of products is our own, and so is how they lie
        return found.contiguous()
    return found if found is value else found.clone()


def _of_lists(*interleaved: Any) -> tuple[Any, ...]:
    """Operands and lists of their axes' numbers in turn, as an equation and its operands; a list that is left
    over is the result's."""
    pairs = len(interleaved) // 2 * 2
    equation = ",".join(map(_letters, interleaved[1:pairs:2]))
    if len(interleaved) > pairs:
        equation += f"->{_letters(interleaved[-1])}"
    return equation, *interleaved[:pairs:2]


def _letters(axes: Sequence[Any]) -> str:
    return "".join("..." if axis is Ellipsis else _letter(axis) for axis in axes)


def _letter(axis: int) -> str:
    if not 0 <= axis < 52:
        raise ArgumentError(
            mirrored("einsum(): subscript in subscript list is not within the valid range [0, 52)")
        )
    return _LETTERS.swapcase()[axis]


def _complain(equation: str, why: str) -> ArgumentError:
    return ArgumentError(f"einsum({equation!r})", mirrored(f"einsum(): {why}"))


def _misplaced(equation: str, sign: str, place: int, count: int) -> str:
    """What is said of a sign that is no subscript, in the part of an operand or of the result."""
    if sign == ".":
        holder = f"operand {place}" if place < count else "output"
        return f"found '.' for {holder} that is not part of any ellipsis"
    return (
        f"invalid subscript given at index {equation.index(sign)} in the equation string, subscripts must be "
        "in [a-zA-Z]"
    )


def _parse(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result.

    An ellipsis becomes letters that the equation does not use.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if not ndims:
        raise _complain(equation, "must provide at least one operand")
    if len(parts) != len(ndims):
        few = "fewer" if len(parts) > len(ndims) else "more"
        raise _complain(equation, f"{few} operands were provided than specified in the equation")
    for k, part in enumerate((*parts, right)):
        strange = next((sign for sign in part.replace("...", "", 1) if sign not in _LETTERS), "")
        if strange:
            raise _complain(equation, _misplaced(equation, strange, k, len(parts)))
    named = [len(part.replace("...", "")) for part in parts]
    hidden = [ndim - n if "..." in part else 0 for part, ndim, n in zip(parts, ndims, named)]
    for k, (part, ndim, n) in enumerate(zip(parts, ndims, named)):
        if n > ndim or ("..." not in part and n != ndim):
            raise _complain(
                equation,
                f"the number of subscripts in the equation ({n}) does not match the number of dimensions "
                f"({ndim}) "
                f"for operand {k}" + ("" if "..." in part else " and no ellipsis was given"),
            )
    spare = "".join(c for c in _LETTERS if c not in left)[: max(hidden)]
    filled = [part.replace("...", spare[len(spare) - h :]) for part, h in zip(parts, hidden)]
    counts = Counter("".join(filled))
    if not arrow:
        return filled, spare + "".join(sorted(c for c in counts if counts[c] == 1 and c not in spare))
    output = right.replace("...", spare)
    for letter in output:
        if output.count(letter) > 1:
            raise _complain(equation, f"output subscript {letter} appears more than once in the output")
        if letter not in counts:
            raise _complain(
                equation,
                f"output subscript {letter} does not appear in the equation for any input operand",
            )
    return filled, output


def _diagonals(term: _Term, equation: str) -> _Term:
    """A letter that occurs twice in one operand means the diagonal of the two axes."""
    value, letters = term
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            a = letters.index(letter)
            b = letters.index(letter, a + 1)
            if value.shape[a] != value.shape[b]:
                raise ShapeError(
                    f"einsum({equation!r})",
                    f"einsum(): subscript {letter} is repeated for an operand but the sizes don't match, "
                    f"{value.shape[b]} != {value.shape[a]}",
                )
            value = movedim(diagonal(value, 0, a, b), -1, a)
            letters = letters[:b] + letters[b + 1 :]
    return _Term(value, letters)


def _broadcast(terms: list[_Term], equation: str) -> list[_Term]:
    """Axes of size 1 dropped where another operand has a greater size under that letter."""
    sizes: dict[str, int] = {}
    for k, term in enumerate(terms):
        for letter, size in term.sizes().items():
            known = sizes.setdefault(letter, size)
            if size not in (1, known) and known != 1:
                raise ShapeError(
                    f"einsum({equation!r})",
                    mirrored(
                        f"einsum(): subscript {letter} has size {size} for operand {k} which does not "
                        f"broadcast with previously seen size {known}"
                    ),
                )
            sizes[letter] = size if known == 1 else known
    result = []
    for value, letters in terms:
        kept = [k for k, letter in enumerate(letters) if value.shape[k] == sizes[letter]]
        result.append(
            _Term(moves.reshape(value, [value.shape[k] for k in kept]), "".join(letters[k] for k in kept))
        )
    return result


def _permuted(term: _Term, output: str) -> _Term:
    """The term with the output's letters first: a view, even where nothing moves."""
    letters = output + "".join(c for c in term.letters if c not in output)
    order = tuple(term.letters.index(c) for c in letters)
    return _Term(apply(Permute(order), term.value), letters)


def _summed(term: _Term, needed: set[str]) -> _Term:
    """The term, summed over the letters that nobody else needs: whole numbers and bools as int64."""
    gone = [k for k, letter in enumerate(term.letters) if letter not in needed]
    if not gone:
        return term
    x = term.value if term.value.dtype.is_floating_point else moves.cast(term.value, int64)
    return _Term(reduce.sum_(x, gone), "".join(c for c in term.letters if c in needed))


def _cost(terms: list[_Term], pair: tuple[int, int], output: str) -> int:
    """How much greater the product of the pair is than the two factors: the greedy choice is the least."""
    i, j = pair
    needed = set(output).union(*(term.letters for k, term in enumerate(terms) if k not in pair))
    sizes = terms[i].sizes() | terms[j].sizes()
    product = prod(size for letter, size in sizes.items() if letter in needed)
    return product - terms[i].value.numel() - terms[j].value.numel()


def _contract(a: _Term, b: _Term, needed: set[str], output: str) -> _Term:
    """Two terms made one: shared letters that are still needed are batch axes, the other shared ones are
    summed. Axes come in the order of the output, as in PyTorch, whose result lies so.
    """
    every = "".join(dict.fromkeys(c for c in output + a.letters + b.letters if c in a.letters + b.letters))
    batch = [c for c in every if c in a.letters and c in b.letters and c in needed]
    inner = [c for c in every if c in a.letters and c in b.letters and c not in needed]
    rows = [c for c in every if c not in b.letters]
    columns = [c for c in every if c not in a.letters]
    sizes = a.sizes() | b.sizes()

    def arranged(term: _Term, *groups: Sequence[str]) -> Tensor:
        order = [term.letters.index(c) for group in (batch, *groups) for c in group]
        shape = [sizes[c] for c in batch] + [prod(sizes[c] for c in group) for group in groups]
        return moves.reshape(moves.permute(term.value, order), shape)

    letters = "".join((*batch, *rows, *columns))
    left, right = arranged(a, rows, inner), arranged(b, inner, columns)
    product = _product(left, right) if inner else left * right
    return _Term(moves.reshape(product, [sizes[c] for c in letters]), letters)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product, which casts its operands in autocast."""
    if STATE.autocast is not None:
        return matmul(left, right)
    if left.dtype is not right.dtype:
        kinds = bare_legacy_name(left.dtype), bare_legacy_name(right.dtype)
        raise DtypeError(mirrored("expected scalar type {} but found {}".format(*kinds)))
    return dot(left, right)
