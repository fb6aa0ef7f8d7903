"""A function in the making, in static single assignment form: blocks of instructions, variables, phis.

In flow instructions and assignments in the order of the source, block after block; out flows LLVM text. The
phis are found on the way, as by Braun et al., "Simple and Efficient Construction of Static Single Assignment
Form" (CC 2013): a block is *sealed* when all that jump to it are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Line = tuple[object, ...]
"""Pieces of text and values."""


class Value:
    """What an instruction gives, a parameter or a constant, and its LLVM type."""

    __slots__ = ("llvm", "merged", "number", "source", "text")

    def __init__(self, text: str, llvm: str, number: int | float | None = None) -> None:
        self.text, self.llvm, self.number = text, llvm, number
        self.source: Value | None = None
        """What it was widened from."""
        self.merged: Value | None = None
        """What stands for it after all: of a phi that chooses between equals."""

    def __str__(self) -> str:
        return self.text if self.merged is None else str(self.merged)


class Phi:
    """A variable's value by the block that was left for this one."""

    __slots__ = ("sources", "value", "variable")

    def __init__(self, variable: str, value: Value) -> None:
        self.variable, self.value = variable, value
        self.sources: list[tuple[Value, Block]] = []


class Block:
    """Instructions that are run one after the other; the last one jumps or returns."""

    __slots__ = ("before", "here", "lines", "loads", "name", "phis", "sealed", "values", "variables")

    def __init__(self, name: str) -> None:
        self.name, self.sealed = name, False
        self.here = name
        """The label that it ends under."""
        self.before: list[Block] = []
        self.phis: list[Phi] = []
        self.lines: list[Line] = []
        self.variables: dict[str, Value] = {}
        """The last values."""
        self.values: dict[str, Value] = {}
        """Of instructions, by their text, that are run before this block ends."""
        self.loads: dict[str, Value] = {}
        """The same, of those that look at memory, which has not changed since."""


class Builder:
    """Appends to the current block, which is None where nothing can be reached."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._first: list[Line] = []
        """What is done before all else."""
        self._blocks: list[Block] = []
        self.block: Block | None = None
        self.enter(self.new_block("entry"), sealed=True)

    # --- instructions ---------------------------------------------------------------------------------------
    def name(self, hint: str) -> str:
        """A name that is not yet used."""
        count = self._names[hint] = self._names.get(hint, 0) + 1
        return hint if count == 1 else f"{hint}.{count}"

    def add(self, *pieces: object) -> None:
        """An instruction without a value, after which memory may be another one."""
        assert self.block is not None
        self.block.lines.append(pieces)
        self.block.loads.clear()

    def let(self, hint: str, llvm: str, *pieces: object) -> Value:
        """The value of an instruction that depends on its operands alone; there is one of a kind."""
        assert self.block is not None
        return self._known(self.block.values, hint, llvm, pieces)

    def load(self, hint: str, llvm: str, at: Value, alignment: int = 0) -> Value:
        """What memory holds, which is read once until it may have changed. Vectors have an alignment."""
        assert self.block is not None
        return self._known(self.block.loads, hint, llvm, (f"load {llvm}, ptr ", at, _aligned(alignment)))

    def _known(self, known: dict[str, Value], hint: str, llvm: str, pieces: tuple[object, ...]) -> Value:
        assert self.block is not None
        key = "".join(map(str, pieces))
        if key not in known:
            known[key] = value = Value(f"%{self.name(hint)}", llvm)
            self.block.lines.append((value, " = ", *pieces))
        return known[key]

    def store(self, value: Value, at: Value, alignment: int = 0) -> None:
        self.add(f"store {value.llvm} ", value, ", ptr ", at, _aligned(alignment))
        assert self.block is not None
        self.block.loads[f"load {value.llvm}, ptr {at}{_aligned(alignment)}"] = value

    def act(self, hint: str, llvm: str, *pieces: object) -> Value:
        """The value of an instruction that does something, too."""
        value = Value(f"%{self.name(hint)}", llvm)
        self.add(value, " = ", *pieces)
        return value

    def splice(self, first: Sequence[Line], lines: Sequence[Line], here: str) -> None:
        """Lines that end under a label, after what is done where the function begins."""
        assert self.block is not None
        self._first += first
        self.block.lines += lines
        self.block.here = here

    # --- blocks ---------------------------------------------------------------------------------------------
    def new_block(self, hint: str) -> Block:
        return Block(self.name(hint))

    def enter(self, block: Block, *, sealed: bool) -> None:
        """Go on in a block; `sealed`, if all that jump there have done so."""
        self._blocks.append(block)
        self.block = block
        if sealed:
            self.seal(block)
            if len(block.before) == 1:
                block.values.update(block.before[0].values)
                block.loads.update(block.before[0].loads)

    def seal(self, block: Block) -> None:
        """No further one will jump there."""
        block.sealed = True
        for phi in block.phis:
            self._fill(phi, block)

    def jump(self, target: Block) -> None:
        """End the current block, if any, by going on there."""
        if self.block is not None:
            self.end([target], "br label %", target.name)

    def branch(self, condition: Value, then: Block, other: Block) -> None:
        self.end([then, other], "br i1 ", condition, ", label %", then.name, ", label %", other.name)

    def end(self, targets: Sequence[Block], *pieces: object) -> None:
        """The last instruction of the current block."""
        assert self.block is not None
        self.block.lines.append(pieces)
        for target in targets:
            target.before.append(self.block)
        self.block = None

    # --- variables ------------------------------------------------------------------------------------------
    def write(self, variable: str, value: Value) -> None:
        assert self.block is not None
        self.block.variables[variable] = value

    def read(self, variable: str, llvm: str) -> Value:
        assert self.block is not None
        return self._read(variable, llvm, self.block)

    def _read(self, variable: str, llvm: str, block: Block) -> Value:
        if variable in block.variables:
            return block.variables[variable]
        if block.sealed and not block.before:
            raise KeyError(variable)
        if block.sealed and len(block.before) == 1:
            value = self._read(variable, llvm, block.before[0])
        else:
            phi = Phi(variable, Value(f"%{self.name(variable)}", llvm))
            block.phis.append(phi)
            value = block.variables[variable] = phi.value
            if block.sealed:
                self._fill(phi, block)
        block.variables[variable] = value
        return value

    def _fill(self, phi: Phi, block: Block) -> None:
        if not phi.sources:
            phi.sources[:] = [(self._read(phi.variable, phi.value.llvm, b), b) for b in block.before]

    # --- text -----------------------------------------------------------------------------------------------
    def text(self) -> Iterator[str]:
        """The lines of the function's body."""
        self._merge()
        for block in self._blocks:
            yield f"{block.name}:"
            for phi in block.phis:
                if phi.value.merged is None:
                    sources = ", ".join(f"[ {value}, %{source.here} ]" for value, source in phi.sources)
                    yield f"  {phi.value} = phi {phi.value.llvm} {sources}"
            for pieces in [*self._first, *block.lines] if block is self._blocks[0] else block.lines:
                yield "  " + "".join(map(str, pieces))

    def _merge(self) -> None:
        """Leave out phis between one value and themselves, until there is none."""
        phis = [phi for block in self._blocks for phi in block.phis]
        changed = True
        while changed:
            changed = False
            for phi in phis:
                found = {str(value): value for value, _ in phi.sources if str(value) != str(phi.value)}
                if phi.value.merged is None and len(found) == 1:
                    phi.value.merged = next(iter(found.values()))
                    changed = True


def _aligned(alignment: int) -> str:
    return f", align {alignment}" if alignment else ""
