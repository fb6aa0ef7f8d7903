"""Every change of a dict shows in what guards look at: of a plain one, of a module's names, of a class and of
an instance, whichever way Python sets an attribute. A new way to change one is a row of `CHANGES`.
"""

from __future__ import annotations

import ctypes
import gc
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import retrograd as rg
from retrograd.runtime.native.changes import counter, values_of
from retrograd.runtime.native.layout import layout

pytestmark = pytest.mark.skipif(layout() is None, reason="objects are laid out in another way")

CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another value": lambda d: d.update(one=3.5),
    "an item more": lambda d: d.__setitem__("three", 3.5),
    "an item less": lambda d: d.__delitem__("one"),
    "pop": lambda d: d.pop("one"),
    "popitem": lambda d: d.popitem(),
    "setdefault": lambda d: d.setdefault("three", 3.5),
    "update": lambda d: d.update({"two": 4.5}),
    "or": lambda d: d.__ior__({"two": 4.5}),
    "clear": lambda d: d.clear(),
    "exec": lambda d: exec("one = 4.5", d),
}  # fmt: skip


class Plain:
    """Its instances have a dict."""

    def __init__(self) -> None:
        self.one, self.two = 1.5, 2.5


class Managed(rg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = 1.5, 2.5


def namespace() -> dict[str, Any]:
    module = ModuleType("namespace")
    module.one, module.two = 1.5, 2.5  # type: ignore[attr-defined]
    made.append(module)
    return vars(module)


def instance(cls: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        made.append(cls())
        return vars(made[-1])

    return make


made: list[Any] = []
"""Whose dicts are changed."""

DICTS: dict[str, Callable[[], dict[str, Any]]] = {
    "dict": lambda: {"one": 1.5, "two": 2.5},
    "ordered": lambda: OrderedDict(one=1.5, two=2.5),
    "with a default": lambda: defaultdict(float, one=1.5, two=2.5),
    "of a module": namespace,
    "of an instance": instance(Plain),
    "of a layer": instance(Managed),
    "of a class": lambda: gc.get_referents(vars(type("Local", (), {"one": 1.5, "two": 2.5})))[0],
    "of a namespace": instance(lambda: SimpleNamespace(one=1.5, two=2.5)),
}


def seen(watched: dict[str, Any]) -> tuple[int, ...]:
    return ctypes.c_int64.from_address(counter(watched)).value, *values_of(watched)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", DICTS)
def test_every_change_is_counted(kind: str, change: str) -> None:
    watched = DICTS[kind]()
    before = seen(watched)
    CHANGES[change](watched)
    assert seen(watched) != before


@pytest.mark.parametrize("kind", [Plain, Managed, lambda: SimpleNamespace(one=1.5, two=2.5)])
@pytest.mark.parametrize("watched_first", [True, False])
def test_attributes_that_are_set_are_counted(kind: Callable[[], Any], watched_first: bool) -> None:
    """By code that was specialised for instances without a dict of their own, too."""

    def set_one(thing: Any, value: float) -> None:
        thing.one = value

    thing = kind()
    if watched_first:
        seen(vars(thing))
    for k in range(100):
        set_one(thing if watched_first else kind(), float(k))
    counts, kept = set(), [k + 0.5 for k in range(100)]  # a guard keeps what it has read, too
    for value in kept:
        set_one(thing, value)
        counts.add(seen(vars(thing)))
    setattr(thing, *("one", 7.5))
    counts.add(seen(vars(thing)))
    thing.three = 1
    counts.add(seen(vars(thing)))
    del thing.one
    counts.add(seen(vars(thing)))
    object.__setattr__(thing, "two", 9.5)
    counts.add(seen(vars(thing)))
    assert len(counts) == 104


def test_what_only_reads_is_not_counted() -> None:
    watched = {"one": 1.5}
    before = seen(watched)
    assert watched["one"] == watched.get("one") == dict(watched)["one"]
    assert [*watched, *watched.copy()] == ["one", "one"]
    assert seen(watched) == before


def test_a_compiled_function_sees_each_change_of_what_it_reads() -> None:
    settings, layer = {"scale": 2.0}, Plain()

    @rg.compile_grad
    def scaled(x: rg.Tensor) -> rg.Tensor:
        return (x * settings["scale"] * layer.one).sum()

    x = rg.ones(3)
    for change in (
        lambda: settings.update(scale=3.0),
        lambda: setattr(layer, "one", 2.5),
        lambda: layer.__dict__.update(one=4.0),
        lambda: settings.pop("scale") and settings.__setitem__("scale", 0.5),
    ):
        for _ in range(3):
            assert scaled(x).item() == 3 * settings["scale"] * layer.one
        change()
        assert scaled(x).item() == 3 * settings["scale"] * layer.one


def test_a_class_whose_attributes_change_is_seen() -> None:
    class Settings:
        scale = 2.0

    @rg.compile_grad
    def scaled(x: rg.Tensor) -> rg.Tensor:
        return (x * Settings.scale).sum()

    for scale in (2.0, 3.0, 0.5):
        Settings.scale = scale
        assert [scaled(rg.ones(3)).item() for _ in range(3)] == [3 * scale] * 3


def test_an_instances_dict_may_outlive_it_or_take_its_values() -> None:
    for end in (
        lambda made: made.clear(),
        lambda made: vars(made[0]).update({f"k{i}": i for i in range(40)}),
    ):
        layer = Plain()
        names, kept = vars(layer), [layer]
        del layer

        @rg.compile_grad
        def scaled(x: rg.Tensor, names: dict[str, float] = names) -> rg.Tensor:
            return (x * names["one"]).sum()

        assert [scaled(rg.ones(3)).item() for _ in range(3)] == [4.5] * 3
        end(kept)
        gc.collect()
        assert [scaled(rg.ones(3)).item() for _ in range(3)] == [4.5] * 3
        names["one"] = 2.0
        assert [scaled(rg.ones(3)).item() for _ in range(3)] == [6.0] * 3


def test_dicts_come_and_go() -> None:
    """Watched ones whose memory is given to others."""
    for _ in range(3):
        watched = [{"one": k} for k in range(5000)]
        before = [seen(each) for each in watched]
        watched[17]["one"] = -1
        assert seen(watched[17]) != before[17]
        del watched
        gc.collect()
