"""The callable around native code: what it lets in, what it gives back, and that it leaks nothing.

Every test runs twice: through the native trampoline, and through the Python path that stands in where objects
are laid out in an unknown way. A new kind of port gets a row in `MISSES` and a test of its values.
"""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.errors import CompilerError
from retrograd.runtime.native import cpu, fastcall
from retrograd.runtime.native import layout as layout_module
from retrograd.runtime.native.fastcall import make
from retrograd.runtime.native.ports import ArrayPort, ConstantPort, FloatPort, TensorPort
from retrograd.runtime.native.returns import Returns

F64, F32 = np.dtype(np.float64), np.dtype(np.float32)

# Each takes the pointers in the order of its name: i input, o output, a arena.
PROGRAMS = """
define void @double_i_o(ptr %args) nounwind {          ; 4 f64 -> 4 f64
  %x = load ptr, ptr %args
  %y_at = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %y_at
  %v = load <4 x double>, ptr %x, align 8
  %w = fadd <4 x double> %v, %v
  store <4 x double> %w, ptr %y, align 8
  ret void
}

define void @scale_ii_oo(ptr %args) nounwind {         ; 4 f64, f64 -> f64 (first element), 4 f64
  %x = load ptr, ptr %args
  %s_at = getelementptr ptr, ptr %args, i64 1
  %s_in = load ptr, ptr %s_at
  %s = load double, ptr %s_in, align 8
  %first_at = getelementptr ptr, ptr %args, i64 2
  %first = load ptr, ptr %first_at
  %y_at = getelementptr ptr, ptr %args, i64 3
  %y = load ptr, ptr %y_at
  %v = load <4 x double>, ptr %x, align 8
  %single = insertelement <4 x double> poison, double %s, i64 0
  %all = shufflevector <4 x double> %single, <4 x double> poison, <4 x i32> zeroinitializer
  %w = fmul <4 x double> %v, %all
  store <4 x double> %w, ptr %y, align 8
  %f = extractelement <4 x double> %w, i64 0
  store double %f, ptr %first, align 8
  ret void
}

define void @copy_i_o(ptr %args) nounwind {            ; f32 -> f32
  %x = load ptr, ptr %args
  %y_at = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %y_at
  %v = load float, ptr %x, align 4
  store float %v, ptr %y, align 4
  ret void
}

define void @three_ooo(ptr %args) nounwind {           ; -> 1.0, 2.0, 3.0
  %a = load ptr, ptr %args
  %b_at = getelementptr ptr, ptr %args, i64 1
  %b = load ptr, ptr %b_at
  %c_at = getelementptr ptr, ptr %args, i64 2
  %c = load ptr, ptr %c_at
  store double 1.0, ptr %a, align 8
  store double 2.0, ptr %b, align 8
  store double 3.0, ptr %c, align 8
  ret void
}

define void @where_i_oa(ptr %args) nounwind {          ; where the last word is -> address of the arena
  %size_at = load ptr, ptr %args
  %size_float = load double, ptr %size_at, align 8
  %size = fptosi double %size_float to i64
  %y_at = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %y_at
  %arena_at = getelementptr ptr, ptr %args, i64 2
  %arena = load ptr, ptr %arena_at
  store i64 -1, ptr %arena, align 1
  %last = getelementptr i8, ptr %arena, i64 %size
  store i64 -1, ptr %last, align 1
  %address = ptrtoint ptr %arena to i64
  %float = sitofp i64 %address to double
  store double %float, ptr %y, align 8
  ret void
}
"""


class Box:
    """A tensor's stand-in."""

    __slots__ = ("_value", "grad", "requires_grad", "__weakref__")

    def __init__(self, value: Any, requires_grad: bool = False) -> None:
        self._value, self.requires_grad = value, requires_grad
        self.grad: object = None


class Special(Box):
    __slots__ = ("extra",)
    extra: str


PLAIN = {"requires_grad": False, "grad": None}
BOX = TensorPort(Box, "_value", F64, (4,), PLAIN)
VECTOR = ArrayPort(F64, (4,))


@pytest.fixture(scope="module")
def library() -> cpu.Library:
    return cpu.load(assemble(PROGRAMS, Target.host()))


Build = Callable[..., Callable[..., Any]]


@pytest.fixture(params=["native", "python"])
def build(request: pytest.FixtureRequest, library: cpu.Library, monkeypatch: pytest.MonkeyPatch) -> Build:
    """`build(program, arguments, outputs, …)`: its misses come back as ("miss", args, kwargs)."""
    if request.param == "python":
        monkeypatch.setattr(fastcall, "layout", lambda: None)

    def function(
        program: str,
        arguments: list[Any],
        outputs: list[Any],
        returns: Returns = 0,
        arena: int = 0,
        **more: Any,
    ) -> Callable[..., Any]:
        more.setdefault("miss", lambda *args, **kwargs: ("miss", args, kwargs))
        entry = library.address(program)
        return make(program, entry, arguments, outputs, arena, returns=returns, keep=library, **more)

    return function


def test_the_layout_of_this_interpreter_is_known() -> None:
    assert layout_module.layout() is not None


def test_arrays_go_in_and_new_arrays_come_out(build: Build) -> None:
    double, x = build("double_i_o", [VECTOR], [VECTOR]), np.arange(4.0)
    first, second = double(x), double(x)
    assert type(first) is np.ndarray
    assert first.dtype == F64
    assert (first == [0, 2, 4, 6]).all()
    assert first is not second
    assert first.flags.owndata
    assert first.flags.writeable


def test_floats_go_in_and_come_out(build: Build) -> None:
    scale = build("scale_ii_oo", [VECTOR, FloatPort(F64)], [FloatPort(F64), VECTOR], (0, 1))
    value, array = scale(np.arange(1.0, 5.0), 0.1)
    assert type(value) is float
    assert value == 0.1
    assert (array == np.arange(1.0, 5.0) * 0.1).all()


@pytest.mark.parametrize("value", [0.1, -0.0, 1e300, float("inf"), 1e-46])
def test_floats_are_rounded_for_f32(build: Build, value: float) -> None:
    copy = build("copy_i_o", [FloatPort(F32)], [FloatPort(F32)])
    with np.errstate(over="ignore"):
        expected = float(np.float32(value))
    assert copy(value) == expected
    assert np.signbit(copy(value)) == np.signbit(expected)


def test_a_nan_stays_a_nan(build: Build) -> None:
    assert np.isnan(build("copy_i_o", [FloatPort(F32)], [FloatPort(F32)])(float("nan")))


def test_arrays_without_axes_go_in_and_come_out(build: Build) -> None:
    copy = build("copy_i_o", [ArrayPort(F32, ())], [ArrayPort(F32, ())])
    result = copy(np.array(1.5, np.float32))
    assert type(result) is np.ndarray
    assert (result.shape, result.dtype) == ((), F32)
    assert result[()] == 1.5


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ((0, 1, 2), (1.0, 2.0, 3.0)),
        ((2, (1, 0)), (3.0, (2.0, 1.0))),
        ((0, (1, None, (2,)), ()), (1.0, (2.0, None, (3.0,)), ())),
    ],
)
def test_outputs_are_grouped_as_asked(build: Build, returns: Returns, expected: object) -> None:
    assert build("three_ooo", [], [FloatPort(F64)] * 3, returns)() == expected


@pytest.mark.parametrize("returns", [(0, 1, 2, 2), (0, 1, 3)])
def test_no_output_is_named_twice(build: Build, returns: Returns) -> None:
    with pytest.raises(CompilerError, match="name outputs twice"):
        build("three_ooo", [], [FloatPort(F64)] * 3, returns)


def test_no_output_at_all(build: Build) -> None:
    assert build("three_ooo", [ArrayPort(F64, ())] * 3, [], None)(*(np.zeros(()) for _ in range(3))) is None


def test_tensors_go_in_and_come_out(build: Build) -> None:
    double = build("double_i_o", [BOX], [BOX])
    result = double(Box(np.arange(4.0)))
    assert type(result) is Box
    assert (result._value == [0, 2, 4, 6]).all()
    assert (result.grad, result.requires_grad) == (None, False)
    assert weakref.ref(result)() is result


def test_slots_of_a_base_class_are_found(build: Build) -> None:
    port = TensorPort(Special, "_value", F64, (4,), {"extra": "mark"})
    special = Special(np.arange(4.0))
    special.extra = "mark"
    result = build("double_i_o", [port], [port])(special)
    assert (type(result), result.extra) == (Special, "mark")
    assert not hasattr(result, "grad")
    assert (result._value == [0, 2, 4, 6]).all()


def test_what_is_no_slot_is_refused(library: cpu.Library) -> None:
    class Loose:
        value: object

    with pytest.raises(CompilerError, match=r"Loose\.value is not a slot"):
        make("f", library.address("double_i_o"), [TensorPort(Loose, "value", F64, (4,))], [VECTOR], 0, print)


def test_a_float_passes_only_as_a_float(library: cpu.Library) -> None:
    with pytest.raises(CompilerError, match="cannot be passed as int64"):
        make("f", library.address("copy_i_o"), [FloatPort(np.dtype(np.int64))], [FloatPort(F32)], 0, print)


def test_constants_are_checked_and_not_passed(build: Build) -> None:
    mode = "fast"
    double = build("double_i_o", [ConstantPort(None), VECTOR, ConstantPort(mode)], [VECTOR])
    assert (double(None, np.arange(4.0), mode) == [0, 2, 4, 6]).all()
    assert double(None, np.arange(4.0), True)[0] == "miss"
    assert double(0, np.arange(4.0), mode)[0] == "miss"


def unaligned() -> np.ndarray:
    return np.zeros(33, np.uint8)[1:].view(F64)


class Subclass(np.ndarray):
    pass


MISSES = [
    (VECTOR, [1.0, 2.0, 3.0, 4.0]),
    (VECTOR, None),
    (VECTOR, np.zeros(5)),
    (VECTOR, np.zeros((4, 1))),
    (VECTOR, np.zeros(())),
    (VECTOR, np.zeros(4, np.float32)),
    (VECTOR, np.zeros(4, ">f8")),
    (VECTOR, np.zeros(8)[::2]),
    (VECTOR, unaligned()),
    (VECTOR, np.zeros(4).view(Subclass)),
    (VECTOR, Box(np.zeros(4))),
    (ArrayPort(F64, (2, 2)), np.zeros((2, 2)).T.copy("F")),
    (BOX, np.zeros(4)),
    (BOX, Box(np.zeros(4), requires_grad=True)),
    (BOX, Box(np.zeros(5))),
    (BOX, Box(np.zeros(4).view(Subclass))),
    (BOX, Box("no array")),
    (BOX, Special(np.zeros(4))),
    (BOX, Box.__new__(Box)),
    (FloatPort(F64), 1),
    (FloatPort(F64), np.float64(1)),
    (FloatPort(F64), np.zeros(())),
    (ConstantPort(1000001), 1000002),
]


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize(("port", "argument"), MISSES)
def test_what_the_guards_do_not_let_in_is_a_miss(
    build: Build, port: Any, argument: Any, position: int
) -> None:
    ports, arguments = [VECTOR, port], [np.zeros(4), argument]
    if position == 0:
        ports.reverse()
        arguments.reverse()
    kind, args, kwargs = build("double_i_o", ports, [VECTOR])(*arguments)
    assert kind == "miss"
    assert all(got is given for got, given in zip(args, arguments, strict=True))
    assert kwargs == {}


def test_an_equal_dtype_need_not_be_the_same_object(build: Build) -> None:
    x = pickle.loads(pickle.dumps(np.arange(4.0)))
    assert x.dtype is not F64
    assert (build("double_i_o", [VECTOR], [VECTOR])(x) == [0, 2, 4, 6]).all()


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2), {}), ((), {"x": 1}), ((np.zeros(4),), {"y": 2, "z": 3})]
)
def test_a_wrong_number_or_keywords_are_a_miss(build: Build, args: Any, kwargs: Any) -> None:
    assert build("double_i_o", [VECTOR], [VECTOR])(*args, **kwargs) == ("miss", args, kwargs)


def test_an_exception_of_miss_is_the_calls(build: Build) -> None:
    def refuse(*_: object) -> None:
        raise KeyError("not today")

    with pytest.raises(KeyError, match="not today"):
        build("double_i_o", [VECTOR], [VECTOR], miss=refuse)("x")


@pytest.mark.parametrize("size", [3_000_000, 8, 4096, 4104, 100_000])
def test_the_arena_is_there_and_aligned(build: Build, size: int) -> None:
    where = build("where_i_oa", [FloatPort(F64)], [FloatPort(F64)], arena=size)
    for _ in range(3):
        assert where(float(size - 8)) % 64 == 0


def test_the_arena_is_kept_between_calls(library: cpu.Library) -> None:
    where = make("where", library.address("where_i_oa"), [FloatPort(F64)], [FloatPort(F64)], 1 << 20, print)
    assert len({where(8.0) for _ in range(10)}) == 1


def test_outputs_too_big_are_a_memory_error(build: Build) -> None:
    huge = ArrayPort(F64, (1 << 40, 1 << 10))
    with pytest.raises((MemoryError, ValueError)):
        build("three_ooo", [], [VECTOR, BOX, huge], (0, 1, 2))()


def test_an_arena_too_big_is_a_memory_error(build: Build) -> None:
    with pytest.raises(MemoryError):
        build("three_ooo", [], [ArrayPort(F64, (4,)), BOX], (0, 1), arena=1 << 60)()


def test_nothing_is_leaked(build: Build) -> None:
    shared, mark = np.arange(4.0), object()
    port = TensorPort(Box, "_value", F64, (4,), {"grad": mark, "requires_grad": False})
    box = Box(shared)
    box.grad = mark
    outputs = [FloatPort(F64), port]
    scale = build("scale_ii_oo", [port, FloatPort(F64)], outputs, (0, (1, None)))
    watched = [shared, mark, box, Box, F64, np.ndarray, None, scale]

    def turns(count: int) -> None:
        for _ in range(count):
            scale(box, 0.5)
            scale(box, 1)
            scale(box, 0.5, key=1)

    turns(10)
    gc.collect()
    before = [sys.getrefcount(thing) for thing in watched]
    turns(20_000 if isinstance(scale, fastcall._PythonCall) else 100_000)
    gc.collect()
    changes = [abs(sys.getrefcount(thing) - was) for thing, was in zip(watched, before)]
    assert max(changes) < 100, changes


def test_no_memory_is_leaked_by_failures(build: Build, allocated_blocks: Callable[[], int]) -> None:
    huge = ArrayPort(F64, (1 << 40, 1 << 10))
    fail = build("three_ooo", [], [VECTOR, BOX, huge], (0, 1, 2))

    def turns() -> None:
        for _ in range(2000):
            with pytest.raises((MemoryError, ValueError)):
                fail()

    turns()
    before, dtypes = allocated_blocks(), sys.getrefcount(F64)
    turns()
    assert abs(allocated_blocks() - before) < 200
    assert abs(sys.getrefcount(F64) - dtypes) < 10


def test_a_callable_and_all_it_holds_can_be_collected(build: Build) -> None:
    class Owner:
        function: Any

        def miss(self, *_: object) -> str:
            return "miss"

    owner = Owner()
    owner.function = build("double_i_o", [VECTOR], [VECTOR], miss=owner.miss)
    assert owner.function(1) == "miss"
    alive = weakref.ref(owner)
    del owner
    gc.collect()
    assert alive() is None


def test_a_library_lives_as_long_as_its_callables() -> None:
    library = cpu.load(assemble(PROGRAMS, Target.host()))
    double = make("double", library.address("double_i_o"), [VECTOR], [VECTOR], 0, print, keep=library)
    del library
    gc.collect()
    assert (double(np.arange(4.0)) == [0, 2, 4, 6]).all()


def test_it_bears_its_name(build: Build) -> None:
    assert build("double_i_o", [VECTOR], [VECTOR]).__name__ == "double_i_o"


@pytest.mark.parametrize("long_running", [False, True])
def test_many_threads_may_call_at_once(build: Build, long_running: bool) -> None:
    double = build("double_i_o", [BOX], [VECTOR], arena=8192, long_running=long_running)
    box, wrong = Box(np.arange(4.0)), []

    def work() -> None:
        for turn in range(3000):
            box._value = np.full(4, 7.0)  # the array that another thread is reading
            if double(box).tolist() != [14.0] * 4 and turn:
                wrong.append(turn)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_objects_laid_out_in_an_unknown_way_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    layout_module.layout.cache_clear()
    monkeypatch.setattr(layout_module, "_int32", lambda *_: 0)
    assert layout_module.layout() is None
    layout_module.layout.cache_clear()
