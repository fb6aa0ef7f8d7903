"""Object code that was made before: in memory, and on disk for the next process.

`key_of(*parts)` names a program by everything that decides its code; `get(key)` and `put(key,
object_code)` do the rest. A cache may forget but never lie: an entry that is damaged, cut short or
foreign counts as absent and is written anew, and a folder that cannot be read or written is simply not
used.

| variable | meaning |
|---|---|
| `RETROGRAD_CACHE=0` | nothing is read from or written to disk |
| `RETROGRAD_CACHE_DIR` | the folder; by default `retrograd` in `$XDG_CACHE_HOME` or `~/.cache` |

Entries are code that will be run, so the folder is private (0700), and one that others can write to is
refused. They are written beside, for a first call need not wait for the disk: `flush()` does, and so does the
end of the process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import stat
import threading
import time
from _thread import LockType
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from retrograd.compiler.errors import warn
from retrograd.compiler.hands import hand

MEMORY_LIMIT = 64 << 20
"""Bytes kept in memory."""

DISK_LIMIT = 512 << 20
"""Bytes kept on disk; beyond it, the entries longest unused go."""

_MAGIC = b"retrograd object code 1\n"
_SUFFIX = ".object"
_SWEEP_EVERY = 64
"""Entries between two looks at the folder's size: on the average over keys, however short the processes."""

_TOUCH_AFTER = 3600.0
"""Seconds after which a use is worth noting in the entry's time stamp."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
"""How an entry is opened that must not be there yet."""

_lock = threading.Lock()
_memory: OrderedDict[str, bytes] = OrderedDict()
_writing: list[LockType] = []
"""Each is held until an entry is written. A fork's child has none of the threads that do it."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_writing.clear)


def key_of(*parts: object) -> str:
    """A name for what follows from `parts` (by their text), this library's sources and LLVM's version."""
    digest = hashlib.sha256(_makers())
    for part in parts:
        text = str(part).encode()
        digest.update(f"{len(text)}:".encode() + text)
    return digest.hexdigest()


def get(key: str) -> bytes | None:
    """The object code, or None."""
    with _lock:
        if key in _memory:
            _memory.move_to_end(key)
            return _memory[key]
    folder = _folder()
    object_code = _read(f"{folder}/{key}{_SUFFIX}") if folder else None
    if object_code is not None:
        _remember(key, object_code)
    return object_code


def put(key: str, object_code: bytes) -> None:
    """Keep the object code under its key."""
    _remember(key, object_code)
    named = _named()
    if named is None:
        return
    with _lock:
        _writing[:] = [done for done in _writing if done.locked()]
        _writing.append(hand().begin(partial(_keep, named, key, object_code)))


@atexit.register
def flush() -> None:
    """Wait until all entries are on disk."""
    with _lock:
        begun = list(_writing)
    for done in begun:
        with done:
            pass


def clear() -> None:
    """Forget everything, in memory and on disk."""
    flush()
    with _lock:
        _memory.clear()
    for _, _, path in _entries(_folder()):
        _remove(path)


def _remember(key: str, object_code: bytes) -> None:
    with _lock:
        _memory[key] = object_code
        _memory.move_to_end(key)
        while sum(map(len, _memory.values())) > MEMORY_LIMIT:
            _memory.popitem(last=False)


@functools.cache
def _makers() -> bytes:
    """What makes the code: the sources of this library as they lie here, and the LLVM bindings."""
    import llvmlite  # late, like all of LLVM

    home = Path(__file__).resolve().parents[2]
    stamps = sorted(_stamps([f"{home}/compiler", f"{home}/runtime"]))
    return hashlib.sha256(repr((llvmlite.__version__, stamps)).encode()).digest()


def _stamps(rooms: list[str]) -> Iterator[tuple[str, int, int]]:
    """(path, bytes, time of the last change) of each source file in these rooms, and in those found there."""
    for room in rooms:
        for entry in os.scandir(room):
            if entry.name.endswith(".py"):
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns
            elif entry.name != "__pycache__" and entry.is_dir():
                rooms.append(entry.path)


def _folder() -> str | None:
    """The folder on disk, made if need be; None if it is switched off, not to be had, or not safe."""
    named = _named()
    return None if named is None else _safe(named)


def _named() -> str | None:
    """What the environment says of the folder: None if it is switched off."""
    if os.environ.get("RETROGRAD_CACHE") == "0":
        return None
    return os.environ.get("RETROGRAD_CACHE_DIR") or _default_folder()


def _default_folder() -> str:
    return (os.environ.get("XDG_CACHE_HOME") or "~/.cache") + "/retrograd"


def _safe(named: str) -> str | None:
    """The folder, made if need be; None if it is not to be had, or not safe."""
    folder = os.path.expanduser(named)
    if folder.startswith("~"):  # whose, nobody knows
        return None
    try:
        try:
            status = os.stat(folder)
        except FileNotFoundError:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            status = os.stat(folder)
    except OSError:
        return None
    foreign = hasattr(os, "getuid") and status.st_uid != os.getuid()
    if foreign or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _refuse(folder)
        return None
    return folder


@functools.cache
def _refuse(folder: str) -> None:
    """Say once that the folder is not safe."""
    advice = "make it yours alone (chmod 700), or name another in RETROGRAD_CACHE_DIR"
    warn(
        f"{folder} is not used to keep compiled code, because others can write to it: {advice}",
        RuntimeWarning,
    )


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read()
        head = len(_MAGIC) + hashlib.sha256().digest_size
        object_code = content[head:]
        if content[:head] != _MAGIC + hashlib.sha256(object_code).digest():
            return None
        if time.time() - os.stat(path).st_mtime > _TOUCH_AFTER:
            os.utime(path)
    except OSError:
        return None
    return object_code


def _keep(named: str, key: str, object_code: bytes) -> None:
    """Write an entry, if it can be, and now and then look at how many there are."""
    folder = _safe(named)
    if folder is None:
        return
    with contextlib.suppress(OSError):
        _write(folder, key, object_code)
        if int(key, 16) % _SWEEP_EVERY == 0:
            _sweep(folder)


def _write(folder: str, key: str, object_code: bytes) -> None:
    """Write beside and rename, so that no reader ever sees half an entry."""
    beside = f"{folder}/{os.urandom(12).hex()}{_SUFFIX}"
    try:
        with open(_private(beside, _NEW), "wb") as file:
            file.write(_MAGIC + hashlib.sha256(object_code).digest() + object_code)
        os.replace(beside, f"{folder}/{key}{_SUFFIX}")
    except OSError:
        _remove(beside)
        raise


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)


def _sweep(folder: str) -> None:
    """Remove the entries longest unused until three quarters of the limit are left."""
    entries = sorted(_entries(folder))
    total = sum(size for _, size, _ in entries)
    if total <= DISK_LIMIT:
        return
    for _, size, path in entries:
        _remove(path)
        total -= size
        if total <= DISK_LIMIT * 3 // 4:
            return


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # another process may have been quicker
        os.unlink(path)


def _entries(folder: str | None) -> list[tuple[float, int, str]]:
    """(time of last use, bytes, path) of each entry."""
    found: list[tuple[float, int, str]] = []
    if folder is None:
        return found
    with contextlib.suppress(OSError), os.scandir(folder) as there:
        for entry in there:
            if entry.name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):  # another process may have removed it meanwhile
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, entry.path))
    return found
