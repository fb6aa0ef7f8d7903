"""Tiles of products, and copies of blocks of their operands, as LLVM text: the routines of `routines.py` that
do the work.

In flow a match of a routine's name, which says the kind of elements, the lanes of a vector and the size; out
flows its module. Each takes pointers and a record of words (`records.py`), a `Tile` or a `Block`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.lanes import splat, transposed
from retrograd.compiler.backends.places import numbered
from retrograd.compiler.backends.products.records import BLOCK, TILE
from retrograd.compiler.backends.vector import Block, Value, fma

_SIZES = {"f32": 4, "f64": 8}
_TOGETHER = 3
"""Rows that are found from one pointer."""
_EARLY = 8
"""Inner positions after which a vector of the right operand is wanted that is fetched now: so a panel that
does not stay in the first-level cache is there in time."""


class _Writer:
    """The text of one routine over vectors of one type."""

    def __init__(self, found: re.Match[str], *parameters: str) -> None:
        self.kind, self.lanes, self.size = found["kind"], int(found["lanes"]), _SIZES[found["kind"]]
        self.block, self.type = Block(), f"<{found['lanes']} x {LLVM_TYPES[found['kind']]}>"
        self._bits = f"<{found['lanes']} x i1>"
        self._signature = f"@{found[0]}({', '.join(f'ptr %{p}' for p in parameters)})"

    def text(self) -> str:
        """The module."""
        lines = "\n".join(self.block.lines)
        declared = "\n".join(self.block.declarations.values())
        return f"define void {self._signature} #0 {{\n{lines}\n  ret void\n}}\n{declared}"

    def words(self, names: Sequence[str]) -> Iterator[str]:
        """The words of the record `%told`."""
        for k in range(len(names)):
            yield self.block.emit(f"load i64, ptr {self.on('%told', 8 * k)}, align 8", "i64").ref

    def on(self, pointer: str, count: str | int) -> str:
        """The address so many bytes on."""
        return self.block.pure(f"getelementptr i8, ptr {pointer}, i64 {count}", "ptr").ref

    def lines(self, first: str, step: str, count: int) -> list[str]:
        """Addresses so many bytes after each other; of a few together, each is found from the first."""
        double, triple = (self.block.pure(f"mul i64 {step}, {n}", "i64").ref for n in (2, _TOGETHER))
        found: list[str] = []
        for k in range(0, count, _TOGETHER):
            first = self.on(first, triple) if k else first
            found += [first, self.on(first, step), self.on(first, double)]
        return found[:count]

    def scaled(self, elements: str) -> str:
        """So many elements in bytes."""
        return self.product(elements, str(self.size))

    def product(self, a: str, b: str) -> str:
        return self.block.emit(f"mul i64 {a}, {b}", "i64").ref

    def mask(self, bits: str) -> str:
        """The lanes whose bits are set."""
        few = self.block.emit(f"trunc i64 {bits} to i{self.lanes}", "i64").ref
        return self.block.emit(f"bitcast i{self.lanes} {few} to {self._bits}", "i1", self.lanes).ref

    def load(self, address: str, mask: str | None = None) -> Value:
        if mask is None:
            text = f"load {self.type}, ptr {address}, align {self.size}"
        else:
            name = f"llvm.masked.load.v{self.lanes}{self.kind}.p0"
            self.block.declare(name, f"declare {self.type} @{name}(ptr, i32, {self._bits}, {self.type})")
            operands = f"ptr {address}, i32 {self.size}, {self._bits} {mask}, {self.type} zeroinitializer"
            text = f"call {self.type} @{name}({operands})"
        return self.block.emit(text, self.kind, self.lanes)

    def element(self, address: str) -> Value:
        return self.block.emit(f"load {LLVM_TYPES[self.kind]}, ptr {address}, align {self.size}", self.kind)

    def gather(self, address: str, step: str) -> Value:
        """A vector of elements that lie so many bytes after each other."""
        apart = numbered(self.block, "i64", range(self.lanes)) * splat(
            Value(self.block, step, "i64", 1), self.lanes
        )
        text = f"getelementptr i8, ptr {address}, {apart.type} {apart.ref}"
        places = self.block.pure(text, "ptr", self.lanes)
        name = f"llvm.masked.gather.v{self.lanes}{self.kind}.v{self.lanes}p0"
        self.block.declare(
            name, f"declare {self.type} @{name}({places.type}, i32, {self._bits}, {self.type})"
        )
        given = f"{places.type} {places.ref}, i32 {self.size}, {self._bits} splat (i1 true)"
        return self.block.emit(
            f"call {self.type} @{name}({given}, {self.type} poison)", self.kind, self.lanes
        )

    def together(self, value: Value) -> Value:
        """The lanes of a vector, added."""
        type_, name = LLVM_TYPES[self.kind], f"llvm.vector.reduce.fadd.v{self.lanes}{self.kind}"
        self.block.declare(name, f"declare {type_} @{name}({type_}, {self.type})")
        zero = "0x8000000000000000"
        call = f"call reassoc {type_} @{name}({type_} {zero}, {self.type} {value.ref})"
        return self.block.emit(call, self.kind)

    def fetch(self, address: str, to_write: int = 0) -> None:
        """Let what is there come into the cache."""
        name = "llvm.prefetch.p0"
        self.block.declare(name, f"declare void @{name}(ptr, i32, i32, i32)")
        self.block.do(f"call void @{name}(ptr {address}, i32 {to_write}, i32 3, i32 1)")

    def store(self, value: Value, address: str, mask: str | None = None) -> None:
        if mask is None:
            self.block.do(f"store {value.type} {value.ref}, ptr {address}, align {self.size}")
            return
        name = f"llvm.masked.store.v{self.lanes}{self.kind}.p0"
        self.block.declare(name, f"declare void @{name}({self.type}, ptr, i32, {self._bits})")
        operands = f"{self.type} {value.ref}, ptr {address}, i32 {self.size}, {self._bits} {mask}"
        self.block.do(f"call void @{name}({operands})")

    @contextmanager
    def loop(self, stop: str, step: str, *pointers: tuple[str, str]) -> Iterator[list[str]]:
        """`for at = 0; at < stop; at += step`: gives `at`, and pointers that each go so many bytes on. Not
        entered where stop is 0."""
        block, label = self.block, self.block.fresh
        outside, head, done = block.here, label("head"), label("done")
        some = block.emit(f"icmp sgt i64 {stop}, 0", "i1").ref
        block.do(f"br i1 {some}, label %{head}, label %{done}")
        block.label(head)
        names = [f"%{label('at')}" for _ in range(1 + len(pointers))]
        after = [f"%{label('on')}" for _ in names]
        place = len(block.lines)
        yield names
        block.do(f"{after[0]} = add i64 {names[0]}, {step}")
        for name, following, (_, bytes_) in zip(names[1:], after[1:], pointers):
            block.do(f"{following} = getelementptr i8, ptr {name}, i64 {bytes_}")
        more = block.emit(f"icmp slt i64 {after[0]}, {stop}", "i1").ref
        block.do(f"br i1 {more}, label %{head}, label %{done}")
        starts = [("i64", "0"), *(("ptr", start) for start, _ in pointers)]
        block.lines[place:place] = [
            f"  {name} = phi {type_} [ {start}, %{outside} ], [ {following}, %{block.here} ]"
            for name, following, (type_, start) in zip(names, after, starts)
        ]
        block.label(done)


# ---- tiles -------------------------------------------------------------------------------------------------


def tile(found: re.Match[str]) -> str:
    """Sums over the inner positions, from what is at `from` on, or from zero where that is null; they go to
    `to`. Tile after tile, downwards."""
    rows, vectors = int(found["rows"]), int(found["vectors"])
    w = _Writer(found, "a", "b", "from", "to", "told")
    block = w.block
    row, inner, down, before, after, count, bits, blocks, *steps, ahead, ahead_on, ahead_down = w.words(TILE)
    mask = w.mask(bits) if found["edge"] else None
    triple, double = (block.emit(f"mul i64 {row}, {n}", "i64").ref for n in (_TOGETHER, 2))
    early, first = w.product(down, str(_EARLY)), w.on("%a", ahead)
    block.do("br label %tile")
    block.label("tile")
    whole = len(block.lines)
    starts = ["%a.tile"]
    for _ in range(0, rows - _TOGETHER, _TOGETHER):
        starts.append(w.on(starts[-1], triple))
    if found["new"]:
        for line in _places(w, "%to.tile", after, rows, vectors, None):
            for place, _ in line:
                w.fetch(place, to_write=1)
    none = block.emit("icmp eq ptr %from.tile, null", "i1").ref
    block.do(f"br i1 {none}, label %loop, label %begin")
    block.label("begin")
    begun = [
        [w.load(place, m) for place, m in line]
        for line in _places(w, "%from.tile", before, rows, vectors, mask)
    ]
    block.do("br label %loop")
    block.label("loop")
    sums, carried = _sums(w, rows, vectors, mask, ("0", row, double))
    firsts = {"left": (count, count), "b0": ("%b", "%b"), "ahead": ("%ahead.tile", "%ahead.tile")}
    firsts |= {f"a{g}": (x, x) for g, x in enumerate(starts)}
    firsts |= {f"sum{i}.{v}": ("zeroinitializer", begun[i][v].ref) for i, v in sums}
    w.fetch("%ahead")
    if found["far"]:
        later = w.on("%b0", early)
        for v in range(vectors):
            w.fetch(w.on(later, v * w.lanes * w.size))
    ons = {"left": block.emit("sub i64 %left, 1", "i64").ref, "b0": w.on("%b0", down)}
    ons["ahead"] = w.on("%ahead", ahead_on)
    ons |= {f"a{g}": w.on(f"%a{g}", inner) for g in range(len(starts))}
    ons |= {f"sum{i}.{v}": total.ref for (i, v), total in sums.items()}
    types = {"left": "i64", "b0": "ptr", "ahead": "ptr"} | {f"a{g}": "ptr" for g in range(len(starts))}
    block.lines[carried:carried] = [
        f"  %{x} = phi {types.get(x, w.type)} [ {zero}, %tile ], [ {begin}, %begin ], [ {ons[x]}, %loop ]"
        for x, (zero, begin) in firsts.items()
    ]
    more = block.emit(f"icmp ne i64 {ons['left']}, 0", "i1").ref
    block.do(f"br i1 {more}, label %loop, label %write")
    block.label("write")
    for i, line in enumerate(_places(w, "%to.tile", after, rows, vectors, mask)):
        for v, (at, m) in enumerate(line):
            w.store(sums[i, v], at, m)
    block.lines[whole:whole] = _downwards(w, blocks, steps, first, ahead_down)
    return w.text()


def dots(found: re.Match[str]) -> str:
    """The same of a right operand of one column, where the inner axis lies side by side in both: a vector of
    sums for each row, whose lanes are added at the end. There is at least one whole vector."""
    rows = int(found["rows"])
    w = _Writer(found, "a", "b", "from", "to", "told")
    block = w.block
    row, _, _, _, after, count, _, blocks, *steps, ahead, ahead_on, ahead_down = w.words(TILE)
    double, triple = (block.emit(f"mul i64 {row}, {n}", "i64").ref for n in (2, _TOGETHER))
    few, ahead_of_vector = (
        block.emit(f"and i64 {count}, {w.lanes - 1}", "i64").ref,
        w.product(ahead_on, str(w.lanes)),
    )
    bits = block.emit(f"shl nsw i64 -1, {few}", "i64").ref
    mask = w.mask(block.emit(f"xor i64 {bits}, -1", "i64").ref)
    last = block.emit(f"sub i64 {count}, {few}", "i64").ref
    none, first = block.emit(f"icmp eq i64 {few}, 0", "i1").ref, w.on("%a", ahead)
    block.do("br label %tile")
    block.label("tile")
    whole, near = len(block.lines), ("0", row, double)
    starts = ["%a.tile"]
    for _ in range(0, rows - _TOGETHER, _TOGETHER):
        starts.append(w.on(starts[-1], triple))
    block.do("br label %loop")

    def added(
        come: Sequence[Value], column: str, lefts: Sequence[str], mask: str | None = None
    ) -> list[Value]:
        """The sums, with a vector of each row by one of the column."""
        b = w.load(column, mask)
        places = [w.on(lefts[i // _TOGETHER], near[i % _TOGETHER]) for i in range(rows)]
        return [fma(w.load(place, mask), b, total) for place, total in zip(places, come)]

    block.label("loop")
    carried = len(block.lines)
    lefts = [f"%a{g}" for g in range(len(starts))]
    sums = added([Value(block, f"%sum{i}", w.kind, w.lanes) for i in range(rows)], "%b0", lefts)
    firsts = {"left": last, "b0": "%b"} | {f"a{g}": x for g, x in enumerate(starts)}
    ons = {"left": block.emit(f"sub i64 %left, {w.lanes}", "i64").ref}
    ons |= {name: w.on(f"%{name}", w.lanes * w.size) for name in firsts if name != "left"}
    if found["met"]:
        w.fetch("%ahead")
        firsts["ahead"], ons["ahead"] = "%ahead.tile", w.on("%ahead", ahead_of_vector)
    ons |= {f"sum{i}": total.ref for i, total in enumerate(sums)}
    firsts |= {f"sum{i}": "zeroinitializer" for i in range(rows)}
    types = {"left": "i64"} | {f"sum{i}": w.type for i in range(rows)}
    block.lines[carried:carried] = [
        f"  %{x} = phi {types.get(x, 'ptr')} [ {begin}, %tile ], [ {ons[x]}, %loop ]"
        for x, begin in firsts.items()
    ]
    more = block.emit(f"icmp ne i64 {ons['left']}, 0", "i1").ref
    block.do(f"br i1 {more}, label %loop, label %last")
    block.label("last")
    block.do(f"br i1 {none}, label %write, label %rest")
    block.label("rest")
    rest = added(sums, ons["b0"], [ons[f"a{g}"] for g in range(len(starts))], mask)
    block.do("br label %write")
    block.label("write")
    _store_totals(w, sums, rest, after)
    block.lines[whole:whole] = _downwards(w, blocks, steps, first, ahead_down)
    return w.text()


def _store_totals(w: _Writer, sums: Sequence[Value], rest: Sequence[Value], after: str) -> None:
    """The lanes of each row's sums added, with or without the rest, and stored below each other."""
    pairs = [f"[ {one.ref}, %last ], [ {other.ref}, %rest ]" for one, other in zip(sums, rest)]
    totals, place = [w.block.emit(f"phi {w.type} {pair}", w.kind, w.lanes) for pair in pairs], "%to.tile"
    for i, total in enumerate(totals):
        place = w.on(place, after) if i else place
        w.store(w.together(total), place)


def _sums(
    w: _Writer, rows: int, vectors: int, mask: str | None, near: Sequence[str]
) -> tuple[dict[tuple[int, int], Value], int]:
    """The loop's multiply-adds, and where its phis belong."""
    place, sums = len(w.block.lines), dict[tuple[int, int], Value]()

    def element(i: int) -> Value:
        return splat(w.element(w.on(f"%a{i // _TOGETHER}", near[i % _TOGETHER])), w.lanes)

    def vector(v: int) -> Value:
        return w.load(w.on("%b0", v * w.lanes * w.size), mask if v == vectors - 1 else None)

    def add(i: int, v: int, a: Value, b: Value) -> None:
        sums[i, v] = fma(a, b, Value(w.block, f"%sum{i}.{v}", w.kind, w.lanes))

    _crossed(rows, vectors, element, vector, add)
    return sums, place


def _downwards(w: _Writer, blocks: str, steps: Sequence[str], ahead: str, ahead_down: str) -> list[str]:
    """The end of a tile, written, and the head of the loop over tiles."""
    block = w.block
    left_on, left_back, from_on, to_on, to_back = steps
    n = block.emit("sub i64 %tiles, 1", "i64").ref
    last = block.emit(f"icmp eq i64 {n}, 1", "i1").ref
    moved = {}
    for name, on, back in (("a", left_on, left_back), ("to", to_on, to_back)):
        less = block.emit(f"select i1 {last}, i64 {back}, i64 0", "i64").ref
        step = block.emit(f"sub i64 {on}, {less}", "i64").ref
        moved[name] = w.on(f"%{name}.tile", step)
    none = block.emit("icmp eq ptr %from.tile, null", "i1").ref
    begun = w.on("%from.tile", from_on)
    moved["from"] = block.emit(f"select i1 {none}, ptr null, ptr {begun}", "ptr").ref
    moved["ahead"] = w.on("%ahead.tile", ahead_down)
    more = block.emit(f"icmp sgt i64 {n}, 0", "i1").ref
    block.do(f"br i1 {more}, label %tile, label %done")
    here = block.here
    block.label("done")
    heads = [f"  %tiles = phi i64 [ {blocks}, %entry ], [ {n}, %{here} ]"]
    firsts = {"a": "%a", "to": "%to", "from": "%from", "ahead": ahead}
    return heads + [
        f"  %{name}.tile = phi ptr [ {firsts[name]}, %entry ], [ {on}, %{here} ]"
        for name, on in moved.items()
    ]


def _crossed(
    rows: int,
    vectors: int,
    element: Callable[[int], Value],
    vector: Callable[[int], Value],
    add: Callable[[int, int, Value, Value], None],
) -> None:
    """Every element with every vector: those of the shorter side are held in registers, those of the longer
    one come one at a time."""
    if rows >= vectors:
        held = [vector(v) for v in range(vectors)]
        for i in range(rows):
            a = element(i)
            for v, b in enumerate(held):
                add(i, v, a, b)
        return
    held = [element(i) for i in range(rows)]
    for v in range(vectors):
        b = vector(v)
        for i, a in enumerate(held):
            add(i, v, a, b)


def _places(
    w: _Writer, first: str, step: str, rows: int, vectors: int, mask: str | None
) -> Iterator[list[tuple[str, str | None]]]:
    """Where the vectors of each row are, and their masks."""
    line = first
    for i in range(rows):
        line = w.on(line, step) if i else line
        yield [(w.on(line, v * w.lanes * w.size), mask if v == vectors - 1 else None) for v in range(vectors)]


# ---- copies ------------------------------------------------------------------------------------------------


def copy(found: re.Match[str]) -> str:
    """Columns that lie side by side: so many vectors, and perhaps part of one more."""
    w, vectors = _Writer(found, "to", "from", "told"), int(found["vectors"])
    down, _, count, _, after, read, written = w.words(BLOCK)
    reads, writes, whole = w.mask(read), w.mask(written), vectors * w.lanes * w.size
    some = w.block.emit(f"icmp ne i64 {read}, 0", "i1").ref
    with w.loop(count, "1", ("%from", down), ("%to", after)) as (_, source, target):
        line = [w.load(w.on(source, v * w.lanes * w.size)) for v in range(vectors)]
        for v, value in enumerate(line):
            w.store(value, w.on(target, v * w.lanes * w.size))
        rest, done = w.block.fresh("rest"), w.block.fresh("done")
        w.block.do(f"br i1 {some}, label %{rest}, label %{done}")
        w.block.label(rest)
        w.store(w.load(w.on(source, whole), reads), w.on(target, whole), writes)
        w.block.do(f"br label %{done}")
        w.block.label(done)
    return w.text()


def pick(found: re.Match[str]) -> str:
    """Elements that lie anywhere: whole vectors of them are gathered, the rest is taken one by one."""
    w = _Writer(found, "to", "from", "told")
    down, across, count, columns, after, *_ = w.words(BLOCK)
    whole = w.block.emit(f"and i64 {columns}, {-w.lanes}", "i64").ref
    rest = w.block.emit(f"sub i64 {columns}, {whole}", "i64").ref
    vector, line = w.product(across, str(w.lanes)), str(w.size * w.lanes)
    gathered, written = w.product(whole, across), w.scaled(whole)
    with w.loop(count, "1", ("%from", down), ("%to", after)) as (_, source, target):
        with w.loop(whole, str(w.lanes), (source, vector), (target, line)) as (_, one, place):
            w.store(w.gather(one, across), place)
        left, room = w.on(source, gathered), w.on(target, written)
        with w.loop(rest, "1", (left, across), (room, str(w.size))) as (_, one, place):
            w.store(w.element(one), place)
    return w.text()


def turn(found: re.Match[str]) -> str:
    """Inner positions that lie side by side: squares, exchanged in registers. The last ones are moved back to
    end with the block, which is no smaller than a square."""
    w = _Writer(found, "to", "from", "told")
    _, across, count, columns, after, *_ = w.words(BLOCK)
    with w.loop(count, str(w.lanes)) as (k,):
        first = _at_most(w, k, count)
        source, target = w.on("%from", w.scaled(first)), w.on("%to", w.product(first, after))
        with w.loop(columns, str(w.lanes)) as (j,):
            column = _at_most(w, j, columns)
            lines = w.lines(w.on(source, w.product(column, across)), across, w.lanes)
            places = w.lines(w.on(target, w.scaled(column)), after, w.lanes)
            for turned, place in zip(transposed([w.load(line) for line in lines]), places):
                w.store(turned, place)
    return w.text()


def flip(found: re.Match[str]) -> str:
    """Rows of a tile, no more than there are lanes, turned: each column of it becomes a row, written as far
    as it goes."""
    w = _Writer(found, "to", "from", "told")
    _, across, count, _, after, _, written = w.words(BLOCK)
    writes = w.mask(written)
    with w.loop(count, str(w.lanes)) as (k,):
        first = _at_most(w, k, count)
        lines = w.lines(w.on("%from", w.scaled(first)), across, w.lanes)
        places = w.lines(w.on("%to", w.product(first, after)), after, w.lanes)
        for turned, place in zip(transposed([w.load(line) for line in lines]), places):
            w.store(turned, place, writes)
    return w.text()


def _at_most(w: _Writer, at: str, extent: str) -> str:
    """Where a square begins, moved back from the end if it must."""
    last = w.block.emit(f"sub i64 {extent}, {w.lanes}", "i64").ref
    w.block.declare("llvm.smin.i64", "declare i64 @llvm.smin.i64(i64, i64)")
    return w.block.emit(f"call i64 @llvm.smin.i64(i64 {at}, i64 {last})", "i64").ref
