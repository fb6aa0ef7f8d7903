"""What the wheel will hold: every package on disk is listed in `pyproject.toml`, and nothing else is.

`make wheel` then builds it and runs `tests/installed.py` in it. A new subpackage goes into `pyproject.toml`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import retrograd

REPOSITORY = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def packages_on_disk(rooms: dict[str, str]) -> set[str]:
    """The installed names of all directories that hold Python files, given where each room is installed."""
    return {
        ".".join((name, *file.parent.relative_to(REPOSITORY / directory).parts))
        for name, directory in rooms.items()
        for file in (REPOSITORY / directory).rglob("*.py")
    }


def test_every_package_on_disk_is_listed() -> None:
    assert set(SETUPTOOLS["packages"]) == packages_on_disk(SETUPTOOLS["package-dir"])


def test_every_listed_package_has_an_init() -> None:
    rooms = sorted(SETUPTOOLS["package-dir"].items(), key=lambda room: -len(room[0]))
    for package in SETUPTOOLS["packages"]:
        name, directory = next(room for room in rooms if f"{package}.".startswith(f"{room[0]}."))
        inside = package.removeprefix(name).replace(".", "/")
        assert (REPOSITORY / f"{directory}{inside}" / "__init__.py").is_file(), package


def test_the_types_are_shipped() -> None:
    assert SETUPTOOLS["package-data"]["retrograd"] == ["py.typed"]
    assert (Path(retrograd.__file__).parent / "py.typed").is_file()
