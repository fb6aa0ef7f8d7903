"""Compiled functions as C libraries: called from C, they compute what they compute in this process."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_programs import Exported, built, compiler, parameters, run

import retrograd as rg
from retrograd import nn
from retrograd.compiler.errors import ArgumentError, GradientError, TraceError

F = nn.functional


def randn(*shape: int, dtype: Any = rg.float32) -> Any:
    return rg.randn(shape, dtype=dtype, requires_grad=True)


def arrays(result: Any) -> list[np.ndarray[Any, Any]]:
    """The leaves of a nested result, as arrays; of complex numbers as pairs."""
    if isinstance(result, tuple | list | dict):
        parts = result.values() if isinstance(result, dict) else result
        return [array for part in parts for array in arrays(part)]
    if isinstance(result, rg.Tensor):
        result = (rg.view_as_real(result) if result.is_complex() else result).detach().numpy()
    return [np.asarray(result)]


@rg.compile_grad
def rosenbrock(x: Any, y: Any) -> Any:
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


@rg.compile_grad
def network(x: Any, w1: Any, w2: Any) -> Any:
    return ((x @ w1).clamp(min=0) @ w2).pow(2).sum()


@rg.compile_grad
def classified(logits: Any, target: Any) -> Any:
    return F.cross_entropy(logits, target)


@rg.compile_grad
def convolved(image: Any, weight: Any) -> Any:
    return F.conv2d(image, weight, padding=1).relu().pow(2).mean()


@rg.compile_grad
def normed(x: Any, gain: Any, bias: Any) -> Any:
    return F.gelu(F.layer_norm(x, (64,), gain, bias)).sum()


@rg.compile_grad
def summed(x: Any) -> Any:
    return (x * x).sum()


@rg.compile_grad
def multiplied(a: Any, b: Any) -> Any:
    return (a @ b).sum()


@rg.compile_grad
def sines(x: Any) -> Any:
    return (x.sin() * 2).sum()


@rg.compile_grad
def recurrent(xs: Any, h: Any, w: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x).tanh()
        return h, h

    last, states = rg.scan(step, h, xs)
    return last.sum() + states.pow(2).sum()


@rg.compile_grad
def filtered(z: Any, gains: Any) -> Any:
    return (rg.fft.ifft(rg.fft.fft(z) * gains).abs() ** 2).sum()


@rg.compile_grad
def scattered(x: Any, index: Any) -> Any:
    return x.index_select(0, index).exp().log1p().sum() + x[:0].sum()


CASES = {
    "rosenbrock": (rosenbrock, lambda: [randn(dtype=rg.float64), randn(dtype=rg.float64)]),
    "network": (network, lambda: [rg.randn(16, 40), randn(40, 24), randn(24, 10)]),
    "network_of_doubles": (
        network,
        lambda: [
            rg.randn(50, 300, dtype=rg.float64), randn(300, 130, dtype=rg.float64),
            randn(130, 7, dtype=rg.float64),
        ],
    ),
    "classified": (classified, lambda: [randn(7, 5), rg.tensor([0, 1, 2, 3, 4, 0, 1])]),
    "convolved": (convolved, lambda: [rg.randn(2, 3, 17, 19), randn(8, 3, 3, 3)]),
    "normed": (normed, lambda: [randn(33, 64), randn(64), randn(64)]),
    "summed": (summed, lambda: [randn(100_003)]),
    "multiplied": (multiplied, lambda: [randn(200, 99, dtype=rg.float64), randn(99, 300, dtype=rg.float64)]),
    "sines_of_halves": (sines, lambda: [randn(100, dtype=rg.float16)]),
    "sines_of_bfloat16": (sines, lambda: [randn(100, dtype=rg.bfloat16)]),
    "huge_sines": (sines, lambda: [(randn(33) * 1e30).detach().requires_grad_()]),
    "recurrent": (recurrent, lambda: [randn(100, 4, 8), randn(4, 8), randn(8, 8)]),
    "filtered": (filtered, lambda: [randn(3, 24, dtype=rg.complex64), randn(24, dtype=rg.complex64)]),
    "scattered": (scattered, lambda: [randn(9, 4), rg.tensor([8, 0, 3, 3])]),
    "empty": (summed, lambda: [randn(0, 3)]),
}  # fmt: skip


def exported(name: str, path: Path, **how: Any) -> tuple[Any, list[Any], Exported]:
    """A case's function, its arguments, and its library."""
    rg.manual_seed(0)
    function, make = CASES[name]
    arguments = make()
    return function, arguments, function.trace(*arguments).export(path / name, **how)


@pytest.mark.parametrize("name", CASES)
def test_on_this_processor_every_bit_is_the_same(name: str, tmp_path: Path) -> None:
    function, arguments, files = exported(name, tmp_path, cpu="native")
    ran = run(files, arrays(arguments))
    assert (ran.code, ran.message) == (0, "")
    expected = arrays(function.value_and_grad(*arguments))
    assert [x.tobytes() for x in ran.outputs] == [x.tobytes() for x in expected]


@pytest.mark.parametrize("name", CASES)
def test_other_processors_differ_by_rounding(name: str, tmp_path: Path) -> None:
    function, arguments, files = exported(name, tmp_path)
    ran = run(files, arrays(arguments))
    agree(ran.outputs, function, arguments)


def agree(outputs: list[Any], function: Any, arguments: list[Any]) -> None:
    expected = arrays(function.value_and_grad(*arguments))
    for ours, theirs in zip(outputs, expected, strict=True):
        found = ours.view(theirs.dtype).reshape(theirs.shape).astype(np.float64)
        eps = {2: 1e-2, 4: 1e-5, 8: 1e-13}[theirs.itemsize]
        right = theirs.astype(np.float64)
        np.testing.assert_allclose(found, right, rtol=eps, atol=eps * np.abs(right).max(initial=1))


@pytest.mark.parametrize("name", ["network", "classified", "normed", "sines_of_halves", "recurrent"])
def test_processors_without_fused_multiply_add_want_that_of_c(name: str, tmp_path: Path) -> None:
    function, arguments, files = exported(name, tmp_path, cpu="x86-64-v2")
    assert f"Link with lib{name}.a and -lm." in files.header.read_text()
    agree(run(files, arrays(arguments), libraries=["-lm"]).outputs, function, arguments)


@pytest.mark.parametrize("name", CASES)
def test_arm(name: str, tmp_path: Path) -> None:
    emulator, cc = shutil.which("qemu-aarch64"), shutil.which("aarch64-linux-gnu-gcc")
    if emulator is None or cc is None:
        pytest.skip("no emulator of ARM, or no compiler for it, is installed")
    function, arguments, files = exported(name, tmp_path, target="aarch64-linux-gnu")
    ran = run(files, arrays(arguments), cc=cc, under=[emulator])
    assert ran.code == 0
    agree(ran.outputs, function, arguments)


@pytest.mark.parametrize("name", ["rosenbrock", "network", "classified", "recurrent"])
def test_cpp(name: str, tmp_path: Path) -> None:
    function, arguments, files = exported(name, tmp_path, cpu="native")
    ran = run(files, arrays(arguments), cc="c++", standard="c++17")
    expected = arrays(function.value_and_grad(*arguments))
    assert [x.tobytes() for x in ran.outputs] == [x.tobytes() for x in expected]


@pytest.mark.parametrize("name", CASES)
def test_it_wants_nothing_and_writes_to_nothing_of_its_own(name: str, tmp_path: Path) -> None:
    *_, files = exported(name, tmp_path)
    told = subprocess.run([compiler("nm"), files.archive], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in told.splitlines() if line and not line.endswith(":")]
    wanted = {symbol for kind, symbol in symbols if kind == "U"}
    offered = {symbol for kind, symbol in symbols if kind.isupper() and kind != "U"}
    assert {symbol for symbol in offered if not symbol.startswith(f"{name}.")} == {name, f"{name}_error"}
    assert wanted <= offered
    assert not [symbol for kind, symbol in symbols if kind in "bB"]
    sections = subprocess.run(
        [compiler("objdump"), "-h", files.archive], capture_output=True, text=True, check=True
    ).stdout
    sizes = {row[1]: int(row[2], 16) for row in map(str.split, sections.splitlines()) if len(row) == 7}
    assert ".text" in sizes
    assert not any(sizes.get(section) for section in (".data", ".bss", ".tdata", ".tbss"))


def test_bytes_are_the_same_again(tmp_path: Path) -> None:
    *_, first = exported("network", tmp_path / "a")
    *_, second = exported("network", tmp_path / "b")
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert first.header.read_text() == second.header.read_text()


def test_an_index_out_of_range_has_a_code_and_words(tmp_path: Path) -> None:
    _, (logits, _), files = exported("classified", tmp_path)
    ran = run(files, [logits.detach().numpy(), np.array([0, 1, 2, 3, 5, 0, 1])])
    assert ran.code == 1
    where = r"test_exported\.py:\d+: "
    assert re.fullmatch(
        where + r"take_along with an index out of range; the axis has size 5; check the index tensor",
        ran.message,
    )
    assert f"1  {ran.message}" in files.header.read_text()


def test_an_index_out_of_range_in_a_loop(tmp_path: Path) -> None:
    @rg.compile_grad
    def looked_up(index: Any, table: Any) -> Any:
        return rg.scan(lambda c, i: ((c + table[i]).tanh(), c.sum()), table[0] * 0, index)[1].sum()

    files = looked_up.trace(rg.tensor([0, 1]), randn(3, 2)).export(tmp_path / "looked_up", cpu="native")
    table = np.ones((3, 2), np.float32)
    fine, wrong = (run(files, [np.array([0, k]), table]) for k in (2, 3))
    expected = looked_up.value_and_grad(rg.tensor([0, 2]), rg.tensor(table, requires_grad=True))
    assert [x.tobytes() for x in fine.outputs] == [x.tobytes() for x in arrays(expected)]
    assert wrong.code == 1
    assert wrong.message.endswith(
        "take with an index out of range; the axis has size 3; check the index tensor"
    )


def test_captured_parameters_are_arguments_by_their_names(tmp_path: Path) -> None:
    rg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))

    @rg.compile_grad
    def loss(x: Any, target: Any) -> Any:
        return F.cross_entropy(model(x), target)

    x, target = rg.randn(5, 4), rg.tensor([0, 1, 2, 0, 1])
    files = loss.trace(x, target).export(tmp_path / "loss", cpu="native")
    names = [f"model_{name.replace('.', '_')}" for name, _ in model.named_parameters()]
    assert [p.name for p in parameters(files.header)] == [
        "x", "target", *names, "value", *(f"grad_{name}" for name in names)
    ]  # fmt: skip
    ran = run(files, [*arrays([x, target]), *arrays([*model.parameters()])])
    value, gradients = loss.value_and_grad(x, target)
    assert [x.tobytes() for x in ran.outputs] == [x.tobytes() for x in arrays([value, gradients])]


@pytest.mark.parametrize("of", ["graph", "joint", "adjoint"])
def test_captured_parameters_can_be_in_the_library(of: str, tmp_path: Path) -> None:
    rg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(144, 3)
    ).eval()
    weight = rg.randn(3, 3).T

    @rg.compile_grad(wrt="x")
    def scores(x: Any) -> Any:
        return rg.scan(lambda c, w: (c.tanh() + w, None), model(x), weight)[0]

    x, cotangent = randn(2, 1, 8, 8), rg.randn(2, 3)
    files = scores.trace(x).export(tmp_path / "scores", of, constants=True, cpu="native")
    inputs = [p.name for p in parameters(files.header) if p.is_input]
    assert inputs == ["x", "cotangent_value"][: 1 if of == "graph" else 2]
    assert "is in it, as it was when it was made." in files.header.read_text()
    value, pullback = scores.vjp(x)
    expected = {"graph": [value], "joint": [value, pullback(cotangent)], "adjoint": [pullback(cotangent)]}[of]
    ran = run(files, arrays([x, cotangent])[: len(inputs)])
    for ours, theirs in zip(ran.outputs, arrays(expected), strict=True):
        np.testing.assert_allclose(ours, theirs.ravel(), rtol=1e-5, atol=1e-6)


def test_the_value_and_what_is_changed(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(4)

    @rg.compile_grad
    def normed(x: Any) -> Any:
        return {"total": norm(x).pow(3).sum(), "first": x[0]}

    x = rg.randn(6, 4)
    files = normed.trace(x).export(tmp_path / "normed", "graph", cpu="native")
    outputs = [p.name for p in parameters(files.header) if not p.is_input]
    assert outputs == [
        "value_total", "value_first",
        "new_norm_num_batches_tracked", "new_norm_running_mean", "new_norm_running_var",
    ]  # fmt: skip
    before = [norm.num_batches_tracked, norm.running_mean, norm.running_var, norm.weight, norm.bias]
    ran = run(files, [x.numpy(), *(y.detach().numpy().copy() for y in before)])
    expected = [*normed(x).values(), norm.num_batches_tracked, norm.running_mean, norm.running_var]
    assert [x.tobytes() for x in ran.outputs] == [x.tobytes() for x in arrays(expected)]


def test_the_adjoint_and_the_joint_of_several_results(tmp_path: Path) -> None:
    @rg.compile_grad
    def both(a: Any, b: Any) -> Any:
        return a * b, (a + b).exp()

    a, b = randn(5), randn(5)
    traced = both.trace(a, b)
    first, second = rg.randn(5), rg.randn(5)
    values, pullback = both.vjp(a, b)
    gradients = pullback((first, second))
    adjoint = traced.export(tmp_path / "pulled", "adjoint", cpu="native")
    joint = traced.export(tmp_path / "joint", of="joint", cpu="native")
    assert [p.name for p in parameters(adjoint.header)] == [
        "a", "b", "cotangent_value_0", "cotangent_value_1", "grad_a", "grad_b"
    ]  # fmt: skip
    given = arrays([a, b, first, second])
    for files, expected in ((adjoint, [gradients]), (joint, [values, gradients])):
        for ours, theirs in zip(run(files, given).outputs, arrays(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_names_that_c_has_other_uses_for(tmp_path: Path) -> None:
    @rg.compile_grad
    def odd(int: Any, class_: Any, workspace: Any, größe: Any, _x: Any) -> Any:
        return (int * class_ + workspace * größe * _x).sum()

    given = [randn(3) for _ in range(5)]
    files = odd.trace(*given).export(tmp_path / "odd", cpu="native")
    names = [p.name for p in parameters(files.header) if p.is_input]
    assert names == ["int_", "class_", "workspace_", "gr__e", "x_x"]
    for standard, cc in (("c99", "cc"), ("c++17", "c++")):
        assert run(files, arrays(given), standard=standard, cc=cc).code == 0


TWO = """
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "network.h"
#include "recurrent.h"

static float x[640], w1[960], w2[240], xs[3200], h[32], w[64];
static struct {{ float value, w1[960], w2[240], loop, xs[3200], h[32], w[64]; }} found[8];

static void *call(void *number) {{
    char room[NETWORK_WORKSPACE + RECURRENT_WORKSPACE + 1];
    int k = (int)(long)number, turn;
    memset(&found[k], 0, sizeof found[k]);
    for (turn = 0; turn < 200; turn++) {{
        if (network(x, w1, w2, &found[k].value, found[k].w1, found[k].w2, room)) return "failed";
        if (recurrent(xs, h, w, &found[k].loop, found[k].xs, found[k].h, found[k].w, room)) return "failed";
    }}
    return NULL;
}}

int main(void) {{
    pthread_t threads[8];
    pthread_attr_t small;
    int k;
    void *failed;
    for (k = 0; k < 3200; k++) xs[k] = (float)(k % 13) / 13 - 0.4f;
    for (k = 0; k < 960; k++) w1[k] = (float)(k % 7) / 7 - 0.5f;
    memcpy(x, w1, sizeof x); memcpy(w2, w1, sizeof w2); memcpy(h, w1, sizeof h); memcpy(w, w1, sizeof w);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 21);
    for (k = 0; k < 8; k++) if (pthread_create(&threads[k], &small, call, (void *)(long)k)) return 1;
    for (k = 0; k < 8; k++) if (pthread_join(threads[k], &failed) || failed) return 2;
    for (k = 1; k < 8; k++) if (memcmp(&found[0], &found[k], sizeof found[0])) return 3;
    printf("%.9g %.9g\\n", found[0].value, found[0].loop);
    return 0;
}}
"""


def test_two_libraries_in_one_program_on_several_threads(tmp_path: Path) -> None:
    libraries = [exported(name, tmp_path, cpu="native")[2] for name in ("network", "recurrent")]
    source = tmp_path / "two.c"
    source.write_text(TWO.replace("{{", "{").replace("}}", "}"))
    made = built([source], libraries, "-std=c11", "-pthread", "-D_GNU_SOURCE")
    told = subprocess.run([made], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told
    flat = (np.arange(960) % 7).astype(np.float32) / np.float32(7) - np.float32(0.5)
    row = (np.arange(3200) % 13).astype(np.float32) / np.float32(13) - np.float32(0.4)
    of = lambda n, *shape: rg.tensor(flat[:n].reshape(shape))  # noqa: E731  # short, and used below alone
    value = network(of(640, 16, 40), of(960, 40, 24), of(240, 24, 10))
    loop = recurrent(rg.tensor(row.reshape(100, 4, 8)), of(32, 4, 8), of(64, 8, 8))
    np.testing.assert_allclose([*map(float, told.stdout.split())], [float(value), float(loop)], rtol=1e-6)


def test_a_shared_library_can_hold_it(tmp_path: Path) -> None:
    """The code is position-independent, and refers to itself alone."""
    *_, files = exported("network", tmp_path)
    out = tmp_path / "lib.so"
    whole = ["-shared", "-Wl,-z,defs", "-Wl,--whole-archive", files.archive, "-Wl,--no-whole-archive"]
    command = [compiler(), *whole, "-nostdlib", "-o", out]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    seen = subprocess.run([compiler("nm"), "-D", out], capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1] for line in seen.splitlines()] == ["network", "network_error"]


def members(archive: bytes) -> dict[str, bytes]:
    """What is in an archive, by name."""
    assert archive[:8] == b"!<arch>\n"
    found, at = {}, 8
    while at < len(archive):
        name, size = archive[at : at + 16].decode().strip(), int(archive[at + 48 : at + 58])
        assert archive[at + 58 : at + 60] == b"`\n"
        content = archive[at + 60 : at + 60 + size]
        if name.startswith("#1/"):  # of BSD: the name is before the content, which begins with a word
            length = int(name.removeprefix("#1/"))
            name, content = content[:length].rstrip(b"\0").decode(), content[length:]
            assert (at + 60 + length) % 8 == 0
        found[name] = content
        at += 60 + size + size % 2
    return found


def test_windows_and_apple_have_their_own_object_files(tmp_path: Path) -> None:
    *_, windows = exported("network", tmp_path, target="x86_64-pc-windows-msvc")
    found = members(windows.archive.read_bytes())
    assert list(found) == ["/", "0.o/", "1.o/", "2.o/"]
    assert found["0.o/"][:2] == b"\x64\x86"
    assert b"network\0network_error\0network.retrograd_" in found["/"]
    *_, apple = exported("network", tmp_path, target="arm64-apple-macosx11")
    found = members(apple.archive.read_bytes())
    assert list(found)[:2] == ["__.SYMDEF", "0.o"]
    assert found["0.o"][:4] == b"\xcf\xfa\xed\xfe"
    assert b"_network\0_network_error\0_network.retrograd_" in found["__.SYMDEF"]


@pytest.mark.parametrize("triple", ["arm64-apple-macosx11", "x86_64-apple-macosx11"])
def test_apples_linker_takes_it(triple: str, tmp_path: Path) -> None:
    linker = next(filter(None, map(shutil.which, ("ld64.lld", "ld64.lld-14"))), None)
    if linker is None:
        pytest.skip("no linker for Apple's systems is installed")
    *_, files = exported("network", tmp_path, target=triple)
    system = ["-arch", triple.partition("-")[0], "-platform_version", "macos", "11.0", "11.0"]
    wanted = ["-dylib", "-exported_symbol", "_network", "-u", "_network", files.archive]
    # nothing is undefined
    told = subprocess.run(
        [linker, *system, *wanted, "-o", tmp_path / "lib.dylib"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert b"_network\0" in (tmp_path / "lib.dylib").read_bytes()


# ---- what cannot be exported -------------------------------------------------------------------------------


def test_errors(tmp_path: Path) -> None:
    traced = rosenbrock.trace(randn(), randn())
    for path, how, words in (
        ("lo-ss", {}, r"export\(.*no function of yours .* called 'lo-ss'; name it like one: 'build/loss'"),
        ("int", {}, r"no function of yours in C can be called 'int'"),
        ("retrograd_product", {}, r"no function of yours in C can be called 'retrograd_product'"),
        ("loss", {"of": "vjp"}, r"export\(of='vjp'\); no such graph; name one of 'graph', 'adjoint'"),
        ("loss", {"cpu": "z80"}, r"code for cpu='z80' of .*no such processor.*name one of 'x86-64-v3'"),
        ("loss", {"target": "riscv64-linux-gnu"}, r"'riscv64-linux-gnu'; there is code for x86_64 and aarch"),
        ("loss", {"cpu": "native", "target": "aarch64-linux-gnu"}, r"name one of 'generic'"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=words):
            traced.export(tmp_path / path, **how)
    assert not [*tmp_path.iterdir()]


def test_gradients_that_are_not_taken(tmp_path: Path) -> None:
    with rg.no_grad():
        traced = summed.trace(rg.ones(3))
    with pytest.raises(
        GradientError, match=r"export\(of='adjoint'\); no gradients are taken of summed by what"
    ):
        traced.export(tmp_path / "loss", "adjoint")
    files = traced.export(tmp_path / "loss", cpu="native")
    assert [p.name for p in parameters(files.header)] == ["x", "value"]


def test_what_needs_more_than_code_is_refused_at_its_line(tmp_path: Path) -> None:
    @rg.compile_grad
    def solved(a: Any) -> Any:
        return rg.linalg.inv(a).sum()

    @rg.compile_grad
    def dropped(x: Any) -> Any:
        return F.dropout(x, 0.5).sum()

    @rg.compile_grad
    def branched(x: Any) -> Any:
        return x.sum() if x[0] > 0 else x.prod()

    @rg.compile_grad
    def grown(x: Any) -> Any:
        return rg.while_loop(lambda v: v.sum() < 100, lambda v: (v * v + 1,), (x,))[0].sum()

    for function, given, words in (
        (solved, randn(9, 9), r"inv\(f32\[9, 9\]\) in a C library; it is LAPACK's"),
        (dropped, randn(3), r"dropped as a C library; mul reads random numbers.*pass them as an argument"),
        (branched, rg.ones(3, requires_grad=True), r"branched as a C library; bool\(\) of a tensor decides"),
        (grown, rg.ones(3, requires_grad=True), r"a loop in a C library; it keeps something of each turn"),
    ):
        with pytest.raises(TraceError, match=r"^test_exported\.py:\d+: " + words):
            function.trace(given).export(tmp_path / "loss")
    assert grown.trace(rg.ones(3)).export(tmp_path / "grown", "graph", cpu="native").archive.exists()
