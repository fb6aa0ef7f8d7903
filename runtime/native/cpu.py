"""Machine code in this process: object code becomes functions with addresses, and parallel ones get threads.

`load(*objects)` gives a `Library`; `library.address("NAME")` is where the program starts, and stays
valid as long as the library is referenced. Programs see the C library, which LLVM itself calls for
copies, fills and remainders, and the worker pool (`pool.py`), whose threads start at the first
parallel call.

`set_num_threads` and `get_num_threads` rule the pool.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from retrograd.compiler.backends.cpu import CAREFUL, Target, assemble
from retrograd.compiler.backends.script import Script
from retrograd.compiler.errors import ArgumentError, CompilerError, mirrored
from retrograd.runtime.native import cache, elf, threads
from retrograd.runtime.native.elf import Image, Unlinked
from retrograd.runtime.native.host import host
from retrograd.runtime.native.sleeping import parts_of_pool

_PARALLEL = "retrograd_parallel"
_OF_POOL = (_PARALLEL, f"{_PARALLEL}_brief", "retrograd_threads")
_ROUTINES = re.compile(
    rb"retrograd_(?:parallel(?:_brief)?|threads|script|product|amx|windows|huge_(?:angle|quotient)_f\d\d|(?:turn|flip|pick)_f\d\dx\d+|"
    rb"row_\w+?_f\d\dx\d+_\d+|"
    rb"copy_f\d\dx\d+_\d+|dots_f\d\dx\d+_\d+(?:_met)?|tile_f\d\dx\d+_\d+x\d+(?:_far)?(?:_new)?(?:_edge)?)(?=\0)"
)
"""Names of the library's routines in object code."""
_ASIDES = re.compile(rb"retrograd_huge_\w+?_f\d\d(?=\0)")
"""The same of those that routines call."""
_ROW = re.compile(r"retrograd_row_\w+_f(\d\d)x(\d+)_\d+")
"""That of a routine which takes vectors in registers: bits of an element, and elements of a register."""
_names = itertools.count()
_lock = threading.RLock()


class Library:
    """Loaded object code, linked when it is first asked for. Its functions live as long as this object."""

    __slots__ = ("_image", "_objects", "_symbols")

    def __init__(self, objects: Sequence[bytes], symbols: Mapping[str, int]) -> None:
        self._objects, self._symbols = objects, symbols
        self._image: Image | _LlvmImage | None = None

    context = 0
    """The second argument of the program, which takes none."""

    def address(self, name: str) -> int:
        """Where the exported function or variable `name` is.

        Raises CompilerError when there is none, or when the library wants a symbol that nobody offers.
        """
        with _lock:
            try:
                if self._image is None:
                    make = Image if all(map(elf.takes, self._objects)) else _LlvmImage
                    self._image = make(self._objects, self._symbols)
                return self._image.address(name)
            except Unlinked as why:
                raise CompilerError(f"cannot link {name!r}", str(why)) from None


class _LlvmImage:
    """Object code linked by LLVM: of the kinds that `elf` does not take."""

    def __init__(self, objects: Sequence[bytes], symbols: Mapping[str, int]) -> None:
        from llvmlite import binding  # late, like all of LLVM

        builder = binding.JITLibraryBuilder()
        for object_code in objects:
            builder.add_object_img(object_code)
        for symbol, address in symbols.items():
            builder.import_symbol(symbol, address)
        self._name = f"retrograd.{next(_names)}"
        self._holders: list[object] = [builder.link(_jit(), self._name)]
        self._addresses: dict[str, int] = {}

    def address(self, name: str) -> int:
        """Where the exported function or variable is."""
        if name not in self._addresses:
            try:
                found = _jit().lookup(self._name, name)
            except RuntimeError as error:
                raise Unlinked(str(error)) from None
            self._holders.append(found)
            self._addresses[name] = found[name]
        return self._addresses[name]


def load(*objects: bytes) -> Library:
    """Make the functions of a compiled program callable, given the object code of its modules."""
    wanted = {name.decode() for object_code in objects for name in _ROUTINES.findall(object_code)}
    return Library(objects, {name: _routine(name) for name in wanted})


class ScriptLibrary:
    """A program that a routine of the library runs: what that is told. It lives as long as this object."""

    __slots__ = ("_routine", "_words")

    def __init__(self, script: Script) -> None:
        self._routine = script.routine
        self._words = array("q", [word if isinstance(word, int) else _routine(word) for word in script.words])

    @property
    def context(self) -> int:
        """The second argument of the program."""
        return self._words.buffer_info()[0]

    def address(self, name: str) -> int:
        """Where the program starts, whatever its name."""
        return _routine(self._routine)


def load_native(
    name: str,
    roots: Callable[[], Sequence[Callable[..., Any]]],
    numbers: Mapping[str, int],
    symbols: Mapping[str, int],
    level: int | None = CAREFUL,
) -> Library:
    """A native part of the runtime: functions of the native language (`compiler/native/language.py`), and all
    that they call; `roots` gives them, if they are not in the cache (`exported`). The name is for the cache,
    whose keys tell states of the sources apart; the level is LLVM's, None that of programs, which a first
    call waits for."""
    target = host()
    key = cache.key_of("native part", name, sorted(numbers.items()), target)
    object_code = cache.get(key)
    if object_code is None:
        # late: what is in the cache needs none
        lowering = import_module("retrograd.compiler.native.lowering")
        object_code = assemble(lowering.text(roots(), numbers), target, level=level)
        cache.put(key, object_code)
    return Library([object_code], symbols)


def exported(*modules: str) -> Callable[[], list[Callable[..., Any]]]:
    """What gives the functions that these modules export. Late: what is in the cache needs none of them."""

    def roots() -> list[Callable[..., Any]]:
        things = [thing for module in modules for thing in vars(import_module(module)).values()]
        return [thing for thing in things if getattr(thing, "exported", False)]

    return roots


@functools.cache
def _routine(name: str) -> int:
    """Where a routine of the library is."""
    with _lock:
        if name in _OF_POOL:
            return _pool().address(name)
        return _module("retrograd_product" if name == "retrograd_script" else name).address(name)


def parallel() -> int:
    """Where the pool's loop is."""
    return _routine(_PARALLEL)


@functools.cache
def _module(name: str) -> Library:
    """The module of a routine, compiled once on a machine."""
    target = _target_of(name)
    key = cache.key_of("routine", name, target)
    object_code = cache.get(key)
    if object_code is None:
        # late: what is in the cache needs none
        routines = import_module("retrograd.compiler.backends.routines")
        text = routines.routine(name, target.vector_bits)
        object_code = assemble(text, target, level=CAREFUL)
        cache.put(key, object_code)
    asides = {aside.decode() for aside in _ASIDES.findall(object_code)} - {name}
    return Library([object_code], {aside: _routine(aside) for aside in asides})


def _target_of(name: str) -> Target:
    """What a routine is compiled for: this machine, or as who calls it sees it, in narrower registers."""
    found = _ROW.fullmatch(name)
    narrow = found is not None and int(found[1]) * int(found[2]) < host().vector_bits
    return host().narrowed() if narrow else host()


def call(address: int, pointers: Sequence[int]) -> None:
    """Run a compiled program on data pointers: inputs, outputs, arena. The fast way is `fastcall`."""
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)((ctypes.c_void_p * len(pointers))(*pointers))


def get_num_threads() -> int:
    """How many threads a parallel program uses, the caller's included."""
    return _wish if _wish is not None else _default_threads()


def set_num_threads(count: int) -> None:
    """Use that many threads from the next parallel program on. Results do not depend on the number."""
    global _wish
    if type(count) is not int or not 1 <= count < 1 << 15:
        wanted = "a positive integer" if type(count) is int else f"an int, but got {type(count).__name__}"
        raise ArgumentError(
            mirrored(f"set_num_threads expects {wanted}"),
            "",
            "a number of threads is a whole number from 1 on",
        )
    with _lock:
        _wish = count
        if _pool.cache_info().currsize:
            _resize(_pool(), count)


_pools: list[Library] = []
_wish: int | None = None
_default_threads = functools.cache(threads.default_threads)


@functools.cache
def _jit() -> Any:
    """The one LLVM linker of this process. Never closed: worker threads run its code to the very end."""
    from llvmlite import binding

    binding.initialize_native_target()
    return binding.create_lljit_compiler(use_jit_link=True)


@functools.cache
def _pool() -> Library:
    return make_pool()


def make_pool(sleep: str | None = None) -> Library:
    """A worker pool, its threads sleeping as their system does it best, or as said (`sleeping.py`). It is
    there for good: they run its code."""
    functions, numbers = parts_of_pool(host().triple, sleep)
    library = load_native(f"pool {sleep}", lambda: functions, numbers, {}, level=None)
    _pools.append(library)
    reset = ctypes.PYFUNCTYPE(None)(library.address("retrograd_pool_reset"))
    reset()
    os.register_at_fork(after_in_child=reset)
    _resize(library, get_num_threads())
    if _mode:
        _set_mode(library)
    return library


def _resize(library: Library, count: int) -> None:
    ctypes.PYFUNCTYPE(None, ctypes.c_int32)(library.address("retrograd_pool_resize"))(count)


_mode: tuple[int, int] | None = None
"""A function of C and its argument, by which threads learn how to compute with floats; None as they begin."""


def set_float_mode(adopt: int, mode: int) -> None:
    """Have all workers call `adopt(mode)`, by their addresses, before the next job; both last."""
    global _mode
    with _lock:
        _mode = adopt, mode
        for library in _pools:
            _set_mode(library)


def _set_mode(library: Library) -> None:
    tell = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    tell(library.address("retrograd_pool_mode"))(*(_mode or (0, 0)))
