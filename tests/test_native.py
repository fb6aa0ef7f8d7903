"""LLVM text becomes object code, and object code functions. A new property of the ABI gets a test here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native import Program, assert_close, build, graph_of

from retrograd.compiler.backends.assembler import Assembler
from retrograd.compiler.backends.cpu import CAREFUL, Target, _users, assemble, assembly, level_for
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.hands import _RESTING
from retrograd.compiler.ir.graph import Value, interpret
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import amax, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import expand, reshape, select
from retrograd.compiler.pipeline import compile_graph
from retrograd.runtime.native import cpu, elf

SCALE = """
define void @scale(ptr %args) nounwind {
entry:
  %x = load ptr, ptr %args
  %y_at = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %y_at
  %sum = alloca <8 x float>
  store <8 x float> zeroinitializer, ptr %sum
  %value = load <8 x float>, ptr %x, align 4
  %before = load <8 x float>, ptr %sum
  %after = fadd <8 x float> %before, %value
  store <8 x float> %after, ptr %sum
  %twice = fmul <8 x float> %after, splat (float 2.0)
  store <8 x float> %twice, ptr %y, align 4
  ret void
}
"""

ARM = Target.of("aarch64-unknown-linux-gnu", "generic", "+neon")


def test_a_program_computes_what_its_text_says() -> None:
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    library = cpu.load(assemble(SCALE, Target.host()))
    cpu.call(library.address("scale"), [x.ctypes.data, y.ctypes.data])
    assert (y == 2 * x).all()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_code_generation_level_gives_the_same_values(level: int) -> None:
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    library = cpu.load(assemble(SCALE, Target.host(), level=level))
    cpu.call(library.address("scale"), [x.ctypes.data, y.ctypes.data])
    assert (y == 2 * x).all()


def test_programs_of_the_same_name_live_side_by_side() -> None:
    libraries = [cpu.load(assemble(SCALE, Target.host())) for _ in range(3)]
    assert len({library.address("scale") for library in libraries}) == 3


def test_object_code_is_the_same_each_time() -> None:
    assert assemble(SCALE, Target.host()) == assemble(SCALE, Target.host())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SCALE.replace("fadd <8 x float> %before", "fadd <8 x float> %befor"), "%befor, %value"),
        (SCALE.replace("fadd <8 x float>", "fadd <4 x float>"), "line 11"),
        (
            "define void @f() {\nentry:\n  br label %entry\n}\n",
            "Entry block to function must not have predecessors",
        ),
    ],
)
def test_bad_text_is_refused_with_the_line(text: str, told: str) -> None:
    with pytest.raises(CompilerError, match="not valid LLVM") as error:
        assemble(text, Target.host())
    assert told in str(error.value)


def test_a_program_that_wants_what_is_nowhere_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    text = "declare void @nobody(ptr)\ndefine void @f(ptr %a) {\n  call void @nobody(ptr %a)\n  ret void\n}\n"
    library = cpu.load(assemble(text, Target.host()))
    with pytest.raises(CompilerError, match="cannot link 'f'") as error:
        library.address("f")
    assert "nobody" in str(error.value) + capfd.readouterr().err  # LLVM's own linker tells it there


def test_an_unknown_name_is_refused() -> None:
    library = cpu.load(assemble(SCALE, Target.host()))
    with pytest.raises(CompilerError, match="cannot link 'shrink'"):
        library.address("shrink")


def test_copies_and_fills_that_llvm_calls_are_there() -> None:
    text = """
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
    define void @f(ptr %args) {
      %x = load ptr, ptr %args
      %y_at = getelementptr ptr, ptr %args, i64 1
      %y = load ptr, ptr %y_at
      %z_at = getelementptr ptr, ptr %args, i64 2
      %z = load ptr, ptr %z_at
      %r_at = getelementptr ptr, ptr %args, i64 3
      %r = load ptr, ptr %r_at
      call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 4096, i1 false)
      call void @llvm.memset.p0.i64(ptr %z, i8 0, i64 4096, i1 false)
      %a = load double, ptr %x
      %b = frem double %a, 3.0
      store double %b, ptr %r
      ret void
    }
    """
    x, y, z, r = np.arange(512.0) + 7.5, np.ones(512), np.ones(512), np.ones(1)
    library = cpu.load(assemble(text, Target.host()))
    cpu.call(library.address("f"), [array.ctypes.data for array in (x, y, z, r)])
    assert (y == x).all()
    assert (z == 0).all()
    assert r[0] == 1.5


LINKED = """
@count = internal global i64 40
@zeros = internal global [64 x i64] zeroinitializer, align 64
@table = internal constant [2 x ptr] [ptr @one, ptr @two]
@lent = external global i64
declare i64 @labs(i64)
define internal i64 @one() noinline { ret i64 1 }
define internal i64 @two() noinline { ret i64 2 }
define void @f(ptr %args) {
  %x = load ptr, ptr %args
  %before = load i64, ptr @count
  %after = add i64 %before, 1
  store i64 %after, ptr @count
  store i64 %after, ptr %x
  %at = getelementptr ptr, ptr @table, i64 1
  %function = load ptr, ptr %at
  %two = call i64 %function()
  %other = load i64, ptr @lent
  %size = call i64 @labs(i64 %other)
  %sum = add i64 %two, %size
  %zero_at = getelementptr i64, ptr @zeros, i64 63
  %zero = load i64, ptr %zero_at
  %whole = add i64 %sum, %zero
  %y = getelementptr i64, ptr %x, i64 1
  store i64 %whole, ptr %y
  ret void
}
"""


@pytest.mark.parametrize("make", [elf.Image, cpu._LlvmImage])
def test_variables_tables_and_what_is_lent_are_linked(make: type[elf.Image] | type[cpu._LlvmImage]) -> None:
    code = assemble(LINKED, Target.host())
    if make is elf.Image and not elf.takes(code):
        pytest.skip("object code of another kind")
    lent, found = np.array(-7), np.zeros(2, np.int64)
    images = [make([code], {"lent": lent.ctypes.data}) for _ in range(2)]
    for image, count in ((images[0], 41), (images[0], 42), (images[1], 41)):
        cpu.call(image.address("f"), [found.ctypes.data])
        assert found.tolist() == [count, 9]
    with pytest.raises(elf.Unlinked):
        images[0].address("one")


def test_modules_made_apart_are_one_program() -> None:
    def function(x: Value, y: Value) -> Value:
        angles = dot(x, y)
        for row in (rows.sin, rows.exp, rows.tanh):
            angles = dot(row(angles), y)
        return sum_(angles, [0])

    x, y = (np.random.default_rng(k).standard_normal((133, 133)) / 12 for k in range(2))
    graph, target, given = graph_of(function, x, y), Target.host(), list[str]()
    compiled = compile_graph(graph, target, give=given.append)
    with Assembler(target) as assembler:
        for text in given:
            assembler.add(text)
        apart = Program(compiled, cpu.load(*assembler.finish(compiled.rest)))
    whole = Program(compiled, cpu.load(assemble(compiled.llvm, target)))
    assert len(given) > 1
    np.testing.assert_array_equal(apart(x, y)[0], whole(x, y)[0])
    assert_close(apart(x, y)[0], interpret(graph, (x, y))[0], scale=133)


def test_a_module_that_is_refused_leaves_nothing_behind() -> None:
    refused = SCALE.replace("load <8 x float>, ptr %sum", "load <8 x float>, ptr %nothing")
    before = list(_users)
    with Assembler(Target.host()) as assembler:
        assembler.add(SCALE)
        assembler.add(refused)
        with pytest.raises(CompilerError, match="not valid LLVM"):
            assembler.finish(SCALE)
    assert _users == before


def hands_after_a_program() -> set[int]:
    with Assembler(Target.host()) as assembler:
        assembler.add(SCALE)
        assert len(assembler.finish("")) == 1
    return {id(hand) for hand in _RESTING}


def test_the_thread_that_calls_llvm_stays_for_the_next_program() -> None:
    assert hands_after_a_program() == hands_after_a_program()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_calls_llvm_in_a_thread_of_its_own() -> None:
    hands_after_a_program()
    child = os.fork()
    if child == 0:
        os._exit(0 if not _RESTING and len(hands_after_a_program()) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_of_code_is_given_back() -> None:
    code = assemble(SCALE, Target.host())
    if not elf.takes(code):
        pytest.skip("object code of another kind")
    places = {elf.Image([code], {}).address("scale") for _ in range(100)}
    assert len(places) < 100


def test_lanes_follow_from_the_features() -> None:
    wide = Target.of("x86_64-unknown-linux-gnu", "znver4", "+sse2,+avx,+avx2,+fma,+avx512f,+avx512vl")
    assert (wide.vector_bits, wide.registers, wide.lanes(4), wide.lanes(8)) == (512, 32, 16, 8)
    narrow = wide.narrowed()
    assert (narrow.vector_bits, narrow.registers, narrow.lanes(4)) == (256, 16, 8)
    assert narrow.has("fma")
    assert not narrow.has("avx512f")
    assert narrow.narrowed() is narrow
    assert (ARM.vector_bits, ARM.registers, ARM.lanes(2)) == (128, 32, 8)


WIDE = Target.of(
    "x86_64-unknown-linux-gnu",
    "skylake-avx512",
    "+sse2,+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512dq,+avx512bw",
)


def beside(x: Value, count: int) -> Value:
    """Each element as many times, along a new last axis."""
    return expand(reshape(x, (*x.shape, 1)), (*x.shape, count))


def text_of(function: Callable[..., Value], *arrays: np.ndarray, target: Target = WIDE) -> str:
    return compile_graph(graph_of(function, *arrays), target).llvm


def test_programs_are_compiled_quickly_and_tiles_with_care() -> None:
    rows_sums = text_of(lambda x: sum_(x, [1]), np.zeros((64, 1000), np.float32))
    assert level_for(rows_sums, WIDE) < CAREFUL
    tiles = text_of(dot, np.zeros((64, 64), np.float16), np.zeros((64, 64), np.float16))
    assert level_for(tiles, WIDE) == CAREFUL
    assert level_for(rows_sums, ARM) == CAREFUL


def test_a_known_mask_is_filled_once_where_its_function_begins() -> None:
    text = text_of(lambda x: rows.exp(x - beside(sum_(x, [1]), 10)), np.zeros((64, 10), np.float32))
    assert text.count("bitcast i16 1023 to <16 x i1>") == 1
    assert text.index("bitcast i16 1023") < text.index("br ")
    assert "masked.load" in text
    assert "x i1> <i1 true" not in text


def test_only_what_a_loop_uses_is_put_into_vectors() -> None:
    """Of a row's own numbers, first and last are needed in every lane; those between are not."""
    x, k = np.zeros((64, 160), np.float32), np.zeros(64, np.float32)
    derived = text_of(lambda x, k: x * beside(rows.exp(rows.sin(k) * k + 1.0), 160) - beside(k, 160), x, k)
    plain = text_of(lambda x, k: x * beside(k, 160), x, k)
    assert derived.count("zeroinitializer") == 2 * plain.count("zeroinitializer")


def test_elements_at_known_steps_are_gathered_by_narrow_numbers() -> None:
    text = text_of(lambda x: rows.exp(select(x, 1, 3)), np.zeros((64, 48), np.float32))
    assert "x i32> <i32 0, i32 48, i32 96" in text


def test_a_long_loop_over_a_row_fetches_the_next_one() -> None:
    x = np.zeros((64, 1000), np.float32)
    softmax = text_of(lambda x: rows.exp(x - beside(amax(x, [1]), 1000)), x)
    assert softmax.count("call void @llvm.prefetch") == softmax.count("i32 0, i32 3, i32 1") > 0
    assert "prefetch" not in text_of(lambda x: x - beside(amax(x, [1]), 1000), x)
    assert "prefetch" not in text_of(lambda x: rows.exp(x), x)


def test_an_unknown_processor_is_refused() -> None:
    with pytest.raises(CompilerError, match="no vector registers are known for sparc"):
        Target.of("sparc-sun-solaris", "", "")


@pytest.mark.parametrize(
    "triple", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-darwin23.0.0"]
)
def test_every_processor_of_an_architecture_has_its_first_vector_registers(triple: str) -> None:
    assert Target.of(triple, "generic", "-aes,-sve").vector_bits == 128


def test_a_narrowed_target_uses_no_wide_register() -> None:
    wide = Target.of("x86_64-unknown-linux-gnu", "znver4", "+sse2,+avx,+avx2,+avx512f,+avx512vl")
    text = SCALE.replace("8 x", "16 x")
    assert "zmm" in assembly(text, wide)
    assert "zmm" not in assembly(text, wide.narrowed())
    assert "ymm" in assembly(text, wide.narrowed())


def test_importing_loads_no_llvm_once_its_own_code_is_cached(tmp_path: Path) -> None:
    program = "import sys, retrograd; print('llvmlite.binding' in sys.modules)"
    environment = {**os.environ, "RETROGRAD_CACHE_DIR": str(tmp_path / "cache"), "RETROGRAD_CACHE": "1"}
    for _ in range(2):
        told = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout
    assert told == f"{not elf.takes(assemble(SCALE, Target.host()))}\n"


def test_a_bell_beside_erfc_is_a_part_of_it() -> None:
    """exp(-x²) by the way of erfc loses nothing of its square."""
    x = np.concatenate([np.linspace(-11, 11, 40001), [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30]])
    x = x.astype(np.float32)

    def both(x: Value) -> list[Value]:
        return [rows.erfc(x), rows.exp(-(x * x))]

    program = build(graph_of(both, x))
    tail, bell = program(x)
    exact = np.exp(-(x.astype(np.float64) ** 2))
    spacing = np.maximum(np.spacing(exact.astype(np.float32)), np.finfo(np.float32).smallest_subnormal)
    assert np.nanmax(np.abs(bell - exact) / spacing) <= 1.5
    np.testing.assert_array_equal(np.isnan(bell), np.isnan(x))
    (alone,) = build(graph_of(lambda x: rows.erfc(x), x))(x)
    np.testing.assert_array_equal(tail, alone)
    assert program.compiled.llvm.count("fdiv") == 1
