"""Products with windows on a processor's tiles of bfloat16 (`backends/products/windows.py`): which, and how.

    out[n, o, y, x] = Σ_{c, u, v} w[o, c, u, v] · image[n, c, a·y + d·u, b·x + e·v]

In flow `Digits` and what computes them with vectors; out flows a routine of the library, which does that
where elements do not allow tiles. An image is a load, perhaps of zeros out of bounds: what lies there is
split as it is, in bands of lines whose parts stay in the second-level cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import gcd, prod

from retrograd.compiler.dtypes import float32
from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Number, Space, Within
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index, unflatten
from retrograd.compiler.ir.loops import (
    Epilogue,
    For,
    Kind,
    Statement,
    Store,
    Windowed,
    WindowPlan,
    expressions,
)
from retrograd.compiler.ir.rewriting import stores_of
from retrograd.compiler.record import record
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.panels import at
from retrograd.compiler.schedule.tasks import LIGHT, work

_LINES, _DEEP, _SIDE, _PARTS = 16, 32, 32, 3
"""Lines of a tile; channels of a step; rows of a block; parts of an element."""
_WORD = 4
"""Bytes of an element, and of a word of two elements' parts."""
_LINE = 64
"""Bytes of a line of the cache."""
_TILED, _SPLIT, _GATHERED, _FETCHED, _BEGUN = 0.42, 12, 60, 8, 200_000
"""What a multiply-add on tiles, the splitting of an element of the image, or of the weights, the fetching of
a weight's parts for a band, if all are more than `_NEAR`, and the beginning take, in multiply-adds of
vectors: measured on a processor of Intel's, family 6, model 167."""
_WORTH = 0.85
"""It must take so much less time: elements may turn out not to allow it."""
_NEAR = 1 << 20
"""Bytes of the parts of weights that stay in the second-level cache."""
_KEPT = 3 << 18
"""Bytes of the parts of a band: they stay in the second-level cache, beside weights and sums."""
_TASKS, _FEWEST_LINES, _SHARED = 8, 8, 1 << 21
"""Tasks that there should be, of bands of no fewer lines, where there are so many multiplications."""
_FARTHEST = 1 << 26
"""Bytes from an element to the next, at most, for 16 of them to be gathered."""


@record(slots=True)
class _Side:
    """Lines of the output, or places of one, and how windows reach over the image there."""

    extent: int
    step: int
    """From a window to the next, in places of the image that any window reads."""
    unit: int
    """Elements from one of these to the next."""
    taps: tuple[tuple[Axis, int], ...]
    """Axes of the window, and how many places one step of them leads on."""
    first: int
    """Of the places that any window reaches, those that are there."""
    last: int

    @property
    def beyond(self) -> int:
        """How far a window reaches beyond its first place."""
        return sum(step * (axis.extent - 1) for axis, step in self.taps)

    @property
    def reach(self) -> int:
        return self.step * (self.extent - 1) + self.beyond + 1


def on_tiles(d: Digits, machine: Machine, otherwise: Sequence[Statement]) -> Windowed | None:
    """The product on tiles, or otherwise; None if that does not pay, or cannot be."""
    c, image = d.c, _image(d.c.right)
    if not machine.tiles or c.out.dtype is not float32 or image is None or image.dtype is not float32:
        return None
    left = c.left
    if not isinstance(left, Load) or left.bounds or left.dtype is not float32:
        return None
    if len(d.rows) != 1 or len(d.batch) > 1 or not d.columns or len(d.inner) < 2:
        return None
    if any(i.stride(axis) is None for i in (*c.places, image.index) for axis in d.axes):
        return None
    shape = _shape(d, image)
    return None if shape is None else shape.arranged(left, image, tuple(otherwise))


def _image(e: Expression) -> Load | None:
    """What is read through windows: a load, perhaps of zeros where that is out of bounds."""
    match e:
        case Load():
            return e
        case Call("where", (Within(bounds), Load() as load, Number(0))) if load.bounds == bounds:
            return load
    return None


def _shape(d: Digits, image: Load) -> _Shape | None:
    """The axes by what they are: images, lines, places; channels and the window's."""
    channel, *window = d.inner
    *others, across = d.columns
    columns = d.columns[-2:]
    if any(_met(b, columns) is None for b in image.bounds) or any(
        channel in b.index.axes() for b in image.bounds
    ):
        return None
    taps: dict[Axis, list[Axis]] = {axis: [] for axis in columns}
    for axis in window:
        taps[_paired(image, axis, columns)].append(axis)
    down = others.pop() if others and (taps[others[-1]] or len(others) > 1) else None
    if len(others) > 1:
        return None
    sides = [_side(image, axis, taps[axis]) if axis else _Side(1, 1, 0, (), 0, 1) for axis in (down, across)]
    lines, places = sides
    if lines is None or places is None:
        return None
    return _Shape(
        d, d.batch[0] if d.batch else None, others[0] if others else None, down, channel, lines, places
    )


def _met(bound: Bound, columns: Sequence[Axis]) -> Axis | None:
    """The axis of the columns that a bound is about, if it is one."""
    found = [axis for axis in columns if axis in bound.index.axes()]
    return found[0] if len(found) == 1 else None


def _paired(image: Load, axis: Axis, columns: Sequence[Axis]) -> Axis:
    """The axis of the columns along which an axis of the window leads."""
    for bound in image.bounds:
        met = _met(bound, columns)
        if met is not None and axis in bound.index.axes():
            return met
    across = columns[-1]
    line = (image.index.stride(across) or 0) * across.extent
    return across if (image.index.stride(axis) or 0) < line else columns[0]


def _side(image: Load, axis: Axis, window: Sequence[Axis]) -> _Side | None:
    strides = [image.index.stride(a) or 0 for a in (axis, *window)]
    unit = gcd(*strides)
    if min(strides) <= 0:
        return None
    step, *steps = (stride // unit for stride in strides)
    side = _Side(axis.extent, step, unit, tuple(zip(window, steps, strict=True)), 0, 0)
    first, last = 0, side.reach
    for bound in image.bounds:
        if axis in bound.index.axes():
            factor, rest = divmod(bound.index.stride(axis) or 0, step)
            wanted = [(bound.index.stride(a) or 0) for a in window] == [factor * s for s in steps]
            if rest or factor <= 0 or not wanted or bound.index.axes() - {axis, *window}:
                return None
            first = max(first, -((bound.index.offset - bound.low) // factor))
            last = min(last, -((bound.index.offset - bound.high) // factor))
    return _Side(axis.extent, step, unit, side.taps, first, max(first, last))


@record(slots=True)
class _Cut:
    """Lines of a band and how many bands there are, blocks of rows of a chunk and how many of these."""

    band: int
    bands: int
    chunk: int
    chunks: int


@record(slots=True)
class _Shape:
    """A product with windows, and the layout of the parts of its image."""

    d: Digits
    batch: Axis | None
    images: Axis | None
    down: Axis | None
    channel: Axis
    lines: _Side
    places: _Side

    def arranged(self, left: Load, image: Load, otherwise: tuple[Statement, ...]) -> Windowed | None:
        """The routine, if it pays."""
        direct, column = self._direct(), self.d.columns[-1]
        steps = [abs(i.stride(a) or 0) for i, a in ((left.index, self.channel), (image.index, column))]
        if (direct is None and not self._may_be_repeated()) or max(steps) * _WORD * _LINES > _FARTHEST:
            return None
        cut = self._cut()
        if not self._pays(cut):
            return None
        sums_row = -(-cut.band * self.places.extent * _WORD // _LINE) * _LINE + _LINE
        sums = {"sums_row": sums_row, "sums_bytes": 0 if direct else cut.chunk * _SIDE * sums_row + _LINE}
        words = {**self._sizes(cut), **self._steps(left, image, direct), **sums}
        line, lines, _ = self._layout(cut.band)
        plan = WindowPlan(tuple(words.items()), self._table(left, line, lines), words["tasks"] > 1)
        epilogue = None if direct else self._epilogue(cut.band, sums_row // _WORD)
        return Windowed(otherwise, left, image, direct, plan, epilogue)

    def _cut(self) -> _Cut:
        """Bands whose parts stay near, and so many tasks that threads have some each."""
        lines, blocks = self.lines.extent, -(-self.d.rows[0].extent // _SIDE)
        band = lines
        while band > 1 and self._parts_bytes(band) > _KEPT:
            band = -(-band // 2)
        bands, chunks = -(-lines // band), 1
        if self._items * self._products >= _SHARED:
            wanted = -(-_TASKS // self._items)
            bands = max(bands, min(wanted, lines // _FEWEST_LINES))
            chunks = min(-(-wanted // bands), blocks)
        band, chunk = -(-lines // bands), -(-blocks // chunks)
        return _Cut(band, -(-lines // band), chunk, -(-blocks // chunk))

    def _sizes(self, cut: _Cut) -> dict[str, int]:
        """How far the axes reach, and how they are cut."""
        line, plane_lines, deep = self._layout(cut.band)
        batches = self.batch.extent if self.batch else 1
        return {
            "tasks": self._items * cut.bands * cut.chunks, "bands": cut.bands, "chunks": cut.chunks,
            "band": cut.band, "chunk": cut.chunk, "batches": batches, "images": self._items // batches,
            "rows": self.d.rows[0].extent, "channels": self.channel.extent, "lines": self.lines.extent,
            "width": self.places.extent, "taps": self._taps, "top": self.lines.first,
            "bottom": self.lines.last, "first": self.places.first, "last": self.places.last,
            "down": self.lines.step, "across": self.places.step, "plane_lines": plane_lines,
            "plane_line": line * _WORD, "deep": deep, "along": self._along(cut.band),
            "parts_bytes": self._parts_bytes(cut.band),
        }  # fmt: skip

    def _steps(self, left: Load, image: Load, direct: Store | None) -> dict[str, int]:
        """Bytes from a place of the operands, and of the result, to the next."""
        (row,), out = self.d.rows, direct.index if direct else Index()
        found = {"right_line": self.lines.unit * _WORD, "right_place": self.places.unit * _WORD}
        for name, index, axes in (
            ("left", left.index, {"batch": self.batch, "row": row, "channel": self.channel}),
            ("right", image.index, {"batch": self.batch, "image": self.images, "channel": self.channel}),
            ("out", out, {"batch": self.batch, "image": self.images, "row": row, "line": self.down}),
        ):
            for key, axis in axes.items():
                found[f"{name}_{key}"] = (index.stride(axis) or 0) * _WORD if axis else 0
        return found

    # ---- layout ----

    @property
    def _groups(self) -> int:
        return -(-self.channel.extent // _DEEP)

    @property
    def _items(self) -> int:
        """Images of all products of the batch."""
        return prod(axis.extent for axis in (self.batch, self.images) if axis)

    @property
    def _taps(self) -> int:
        return prod(axis.extent for side in (self.lines, self.places) for axis, _ in side.taps)

    @property
    def _products(self) -> int:
        """Multiplications for an image."""
        places = self.lines.extent * self.places.extent
        return self.d.rows[0].extent * places * self.channel.extent * self._taps

    @property
    def _line(self) -> int:
        """Words of a line of a plane."""
        return -(-self.places.reach // self.places.step)

    def _tiles(self, band: int) -> tuple[int, int]:
        """Tiles of a band, if they go line by line, and if they go on from line to line."""
        width = self.places.extent
        return band * -(-width // _LINES), -(-((band - 1) * self._line + width) // _LINES)

    def _along(self, band: int) -> int:
        apart, on = self._tiles(band)
        return apart // band if apart <= on else 0

    def _layout(self, band: int) -> tuple[int, int, int]:
        """Words of a line of a plane, lines of one, and bytes from the planes of a channel to the next: an
        odd number of lines of the cache, which do not all compete for the same places of it."""
        line = self._line
        lines = -(-(self.lines.step * (band - 1) + self.lines.beyond + 1) // self.lines.step)
        planes = self.lines.step * self.places.step * lines * line
        farthest = planes + self.lines.beyond // self.lines.step * line + self.places.beyond + 3 * _LINES
        words = max(farthest, max(self._tiles(band)) * _LINES + planes - lines * line) + 2 * _LINES
        return line, lines, (-(-words * _WORD // _LINE) | 1) * _LINE

    def _parts_bytes(self, band: int) -> int:
        return _PARTS * _LINES * self._groups * self._layout(band)[2]

    def _table(self, left: Load, line: int, lines: int) -> tuple[int, ...]:
        """Of each tap: bytes in the weights, and in a plane of the image."""
        found: list[int] = []
        window = [(a, s, 0) for a, s in self.lines.taps] + [(a, 0, s) for a, s in self.places.taps]
        weights = [left.index.stride(axis) or 0 for axis, _, _ in window]
        for tap in product(*(range(axis.extent) for axis, _, _ in window)):
            y, x = (
                _sum_of_products(tap, [s for _, s, _ in window]),
                _sum_of_products(tap, [s for _, _, s in window]),
            )
            plane = y % self.lines.step * self.places.step + x % self.places.step
            place = (plane * lines + y // self.lines.step) * line + x // self.places.step
            found += [_sum_of_products(tap, weights) * _WORD, place * _WORD]
        return tuple(found)

    # ---- what it is worth ----

    def _pays(self, cut: _Cut) -> bool:
        rows, inner = self.d.rows[0].extent, self._groups * _DEEP
        tiles = self._items * cut.bands * min(self._tiles(cut.band)) * -(-rows // _LINES)
        lines = self.lines.step * (cut.band - 1) + self.lines.beyond + 1
        image = self._items * cut.bands * cut.chunks * lines * self.places.reach * inner
        weights = (self.batch.extent if self.batch else 1) * rows * inner * self._taps
        parts = 2 * _PARTS * rows * inner * self._taps
        fetched = weights * self._items * cut.bands * _FETCHED if parts > _NEAR else 0
        tiled = tiles * _LINES * _LINES * inner * self._taps * _TILED
        beside = image * _SPLIT + weights * _GATHERED + fetched + _BEGUN
        return tiled + beside < _WORTH * self._items * self._products

    # ---- what follows ----

    def _direct(self) -> Store | None:
        """The store of the sums as they are, a line's side by side."""
        c = self.d.c
        (store, *more) = c.stores
        element = isinstance(store.value, Load) and (store.value.buffer, store.value.index) == (
            c.out,
            c.place,
        )
        return store if element and not more and store.index.stride(self.d.columns[-1]) == 1 else None

    def _may_be_repeated(self) -> bool:
        """May all that is done with the sums be done anew, whatever was stored? Not if an output might be an
        input that is read, changed in place."""
        outputs = {s.buffer.size for s in self.d.c.stores if s.buffer.space is Space.OUTPUT}
        read = [e.buffer for e in expressions(self.d.c.stores) if isinstance(e, Load)]
        return all(buffer.space is not Space.INPUT or buffer.size not in outputs for buffer in read)

    def _epilogue(self, band: int, line: int) -> Epilogue:
        """What is done with the sums of a band, of a block of rows."""
        (row,), width, extent = self.d.rows, self.places.extent, self.lines.extent
        item = Axis("item", prod(axis.extent for axis in (self.batch, self.images) if axis))
        first, place = Axis("row", row.extent), Axis("place", extent * width)
        i, j = Axis("i", min(_SIDE, row.extent)), Axis("j", band * width)
        sums = Buffer("sums", float32, i.extent * line, Space.LOCAL)
        outer = [axis for axis in (self.batch, self.images) if axis]
        values = dict(zip(outer, unflatten(at(item), [axis.extent for axis in outer]), strict=True))
        here = at(place) + as_index(j)
        values[row] = at(first) + at(i)
        values[self.d.columns[-1]] = here % width if self.down else here
        if self.down:
            values[self.down] = here // width
        element = Load(sums, at(i) * line + as_index(j))
        used = stores_of(self.d.c, element, lambda index: index.substitute(values).joined())
        vectors = 4 if work(self.d.c.stores) <= 4 * LIGHT else 2
        while vectors > 1 and vectors * _LINES > j.extent:
            vectors //= 2
        beyond = (here, extent * width) if extent % band else None
        below = (at(first) + at(i), row.extent) if row.extent % _SIDE else None
        body: Statement = For(i, (For(j, used, Kind.VECTOR, beyond, vectors * _LINES),), limit=below)
        return Epilogue(item, first, place, sums, line, (body,))


def _sum_of_products(x: Sequence[int], y: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(x, y, strict=True))
