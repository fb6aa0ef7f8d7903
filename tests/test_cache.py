"""The cache may forget but never lie. A new way in which a folder or an entry goes bad gets a test here."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.compiler.backends.script import Script
from retrograd.compiler.dtypes import float64
from retrograd.compiler.fingerprint import fingerprint
from retrograd.compiler.ir.graph import OPS, Builder, Graph, Type, apply
from retrograd.compiler.ops.reduce import sum_
from retrograd.runtime.native import cache, elf
from retrograd.runtime.native.program import Code

CODE = bytes(range(256)) * 4


def put(key: str, code: bytes) -> None:
    """Keep it, on disk too."""
    cache.put(key, code)
    cache.flush()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own."""
    monkeypatch.delenv("RETROGRAD_CACHE", raising=False)
    monkeypatch.setenv("RETROGRAD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_memory", type(cache._memory)())
    return tmp_path / "cache"


def forget() -> None:
    """What a new process remembers."""
    cache._memory.clear()


def entry(folder: Path, key: str) -> Path:
    return folder / f"{key}.object"


def test_what_was_put_is_got_by_this_process_and_by_the_next(folder: Path) -> None:
    key = cache.key_of("program")
    assert cache.get(key) is None
    put(key, CODE)
    assert cache.get(key) == CODE
    forget()
    assert cache.get(key) == CODE
    assert [path.name for path in folder.iterdir()] == [f"{key}.object"]


def test_the_folder_and_its_entries_are_private(folder: Path) -> None:
    put(cache.key_of("program"), CODE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry(folder, cache.key_of("program")).stat().st_mode) == 0o600


def test_keys_differ_where_programs_differ() -> None:
    wide = Target.of("x86_64-unknown-linux-gnu", "znver4", "+sse2,+avx,+avx512f,+avx512vl")
    keys = {
        cache.key_of(*parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), (), ("",), ("a", 1), ("a", 2)]
    }
    assert len(keys) == 7
    assert cache.key_of("program", wide) != cache.key_of("program", wide.narrowed())
    assert cache.key_of("program", wide) == cache.key_of("program", Target.of(*_parts(wide)))


def _parts(target: Target) -> tuple[str, str, str]:
    return target.triple, target.cpu, target.features


def test_keys_differ_where_the_makers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key_of("program")
    monkeypatch.setattr(cache, "_makers", lambda: b"another library, another LLVM")
    assert cache.key_of("program") != before


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"not ours at all",
        pytest.param(lambda content: content[:-1], id="cut short"),
        pytest.param(lambda content: content[:20], id="cut within the head"),
        pytest.param(lambda content: content + b"x", id="too long"),
        pytest.param(lambda content: content[:100] + b"?" + content[101:], id="a wrong byte"),
        pytest.param(lambda content: content.replace(b"code 1", b"code 0"), id="another version"),
    ],
)
def test_a_bad_entry_counts_as_absent_and_is_written_anew(folder: Path, damaged: object) -> None:
    key = cache.key_of("program")
    put(key, CODE)
    path = entry(folder, key)
    path.write_bytes(damaged(path.read_bytes()) if callable(damaged) else damaged)  # type: ignore[arg-type]
    forget()
    assert cache.get(key) is None
    put(key, CODE)
    forget()
    assert cache.get(key) == CODE


def test_switched_off_it_touches_no_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETROGRAD_CACHE", "0")
    put(cache.key_of("program"), CODE)
    assert cache.get(cache.key_of("program")) == CODE
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_survived(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file where the folder should be")
    put(cache.key_of("program"), CODE)
    assert cache.get(cache.key_of("program")) == CODE
    forget()
    assert cache.get(cache.key_of("program")) is None


def test_a_folder_that_cannot_be_written_is_survived(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = cache.key_of("old"), cache.key_of("new")
    put(old, CODE)

    def refuse(*_: object) -> int:
        raise PermissionError("read-only")

    monkeypatch.setattr(cache, "_private", refuse)
    put(new, CODE)
    assert cache.get(new) == CODE
    forget()
    assert cache.get(new) is None
    assert cache.get(old) == CODE


def test_a_full_disk_leaves_no_half_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    put(cache.key_of("program"), CODE)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no such modes here")
def test_a_folder_that_others_can_write_to_is_refused_aloud(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others can write to it: make it yours alone"):
        put(cache.key_of("program"), CODE)
    assert list(folder.iterdir()) == []


def test_the_default_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RETROGRAD_CACHE_DIR", raising=False)
    assert cache._folder() == str(tmp_path / "retrograd")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache._folder() == str(tmp_path / ".cache" / "retrograd")


def test_a_home_that_nobody_knows_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("RETROGRAD_CACHE_DIR", "~nobody-of-that-name/cache")
    assert cache._folder() is None
    assert list(folder.parent.iterdir()) == []


def test_beyond_the_limit_the_longest_unused_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "DISK_LIMIT", 8 * 1100)
    monkeypatch.setattr(cache, "_SWEEP_EVERY", 1)
    keys = [cache.key_of(number) for number in range(9)]
    for age, key in enumerate(keys[:8]):
        put(key, CODE)
        os.utime(entry(folder, key), (1_000_000 + age, 1_000_000 + age))
    forget()
    assert cache.get(keys[0]) == CODE  # used just now
    put(keys[8], CODE)
    left = {path.name.removesuffix(".object") for path in folder.iterdir()}
    assert {keys[0], keys[7], keys[8]} <= left
    assert keys[1] not in left
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8 * 1100 * 3 // 4


def test_memory_has_a_limit_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MEMORY_LIMIT", 3 * len(CODE))
    for number in range(5):
        put(cache.key_of(number), CODE)
    assert list(cache._memory) == [cache.key_of(number) for number in (2, 3, 4)]


def test_clear_forgets_everything(folder: Path) -> None:
    put(cache.key_of("program"), CODE)
    cache.clear()
    assert cache.get(cache.key_of("program")) is None


def test_what_is_being_written_when_the_process_ends_is_kept(folder: Path) -> None:
    key, code = (
        cache.key_of("last"),
        f"from {cache.__name__} import put; put({cache.key_of('last')!r}, bytes(1 << 22))",
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert cache.get(key) == bytes(1 << 22)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_waits_for_nothing_that_its_parent_writes(folder: Path) -> None:
    cache.put(cache.key_of("program"), bytes(1 << 22))
    child = os.fork()
    if child == 0:
        cache.flush()
        put(cache.key_of("child"), CODE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    cache.flush()
    assert {path.name for path in folder.iterdir()} == {
        f"{cache.key_of(x)}.object" for x in ("program", "child")
    }


# ---- programs ----------------------------------------------------------------------------------------------

WARM = """
import sys
import numpy as np
import retrograd as rg
table = np.arange(12.0).reshape(4, 3)
@rg.compile_grad
def f(x, i):
    return (x[i] * rg.tensor(table)[i] * 2).sum()
value, gradient = f.value_and_grad(np.ones((4, 3)), np.array([0, 2]))
print(value, gradient.tolist(), "retrograd.compiler.pipeline" in sys.modules)
print("LLVM" if "llvmlite.binding" in sys.modules else "no LLVM")
try:
    f(np.ones((4, 3)), np.array([0, 4]))
except IndexError as error:
    print(error)
"""


OURS = elf.takes(assemble("define void @f() { ret void }", Target.host()))
"""Whether code is linked without LLVM here."""


def test_a_warm_start_needs_no_compiler(tmp_path: Path) -> None:
    environment = {**os.environ, "RETROGRAD_CACHE_DIR": str(tmp_path / "cache"), "RETROGRAD_CACHE": "1"}
    cold, warm = (
        subprocess.run(
            [sys.executable, "-c", WARM], capture_output=True, text=True, check=True, env=environment
        ).stdout
        for _ in range(2)
    )
    assert cold.startswith("48.0 ")
    assert " True" in cold
    told = cold.replace(" True", " False")
    assert warm == (told.replace("LLVM", "no LLVM") if OURS else told)
    assert "index 4 is out of bounds for dimension 0 with size 4" in warm


def test_code_comes_back_as_it_was_packed() -> None:
    constants = [np.arange(6, dtype=np.int32).reshape(2, 3), np.array(2.5), np.zeros((0, 4), bool)]
    script = Script("retrograd_script", (1, "retrograd_tile_f32x16_6x4", -64))
    code = Code("loss", 4096, 2, True, [1, 3], constants, script, [CODE, CODE[:7]])
    again = Code.unpacked(code.packed())
    assert again[:5] == code[:5]
    assert again.script == script
    assert again.objects == [CODE, CODE[:7]]
    for ours, theirs in zip(again.constants, constants, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def graph(label: str = "x", shape: int = 3, number: float = 2.0, op: str = "mul", axis: int = 0) -> Graph:
    builder = Builder()
    x = builder.input(label, Type((shape, 3), float64))
    row = OPS[op]
    return Graph("f", (x,), (sum_(apply(row, x, builder.constant(np.full(3, number))), [axis]),))


def test_a_fingerprint_tells_what_decides_the_code_and_nothing_else() -> None:
    others = [graph(shape=4), graph(number=3.0), graph(op="add"), graph(axis=1)]
    prints = [fingerprint(g) for g in (graph(), *others)]
    assert None not in prints
    assert len(set(prints)) == 5
    assert fingerprint(graph("another")) == prints[0]


def test_an_op_of_a_users_own_has_no_fingerprint() -> None:
    class Own(type(graph().outputs[0].op)):  # type: ignore[misc]  # some op's class
        pass

    node = graph().outputs[0]
    own = node.builder.node(Own((0,)), node.inputs[0])
    assert fingerprint(Graph("f", tuple(node.builder.inputs), (own,))) is None


@pytest.mark.usefixtures("folder")
def test_code_that_is_new_takes_constants_that_did_not_lie_in_order() -> None:
    """What comes from the cache was put in order on its way there."""
    places = np.array([[0, 1], [3, 3], [2, 0]])
    gather = rg.vmap(lambda a: a.gather(1, rg.tensor(places)) * rg.tensor([2.0]).expand(2))
    x = rg.arange(36.0).reshape(3, 3, 4)
    expected = np.take_along_axis(x.numpy(), np.broadcast_to(places, (3, 3, 2)), 2) * 2
    for _ in range(2):
        np.testing.assert_array_equal(rg.compile(lambda x: gather(x))(x).numpy(), expected)
