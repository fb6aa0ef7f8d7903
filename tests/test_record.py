"""Records: what `record` makes of a class is what a frozen dataclass is, but for the guard at run time."""

from __future__ import annotations

import pickle
import typing
from dataclasses import asdict, field, fields, replace

import pytest

from retrograd.compiler import record as records
from retrograd.compiler.record import NamedTuple, contents, derived, record


@record
class Point:
    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


@record(slots=True)
class Lone:
    value: float


@record
class Nothing:
    pass


@record(eq=False)
class Named:
    name: str


@record
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")


class _Shown:
    def __repr__(self) -> str:
        return "shown"


@record
class Quiet(_Shown):
    value: int


def test_records_of_equal_fields_are_equal() -> None:
    assert Point(1, 2) == Point(1, y=2) != Point(1, 3)
    assert Nothing() == Nothing()
    assert hash(Lone(0.5)) == hash(Lone(0.5))


def test_records_of_two_classes_differ() -> None:
    assert Quiet(1) != Lone(1)
    assert Lone(1) != 1


def test_without_eq_identity_counts() -> None:
    one = Named("a")
    assert one != Named("a")
    assert {one: 1}[one] == 1


def test_a_record_shows_its_fields_unless_it_says_otherwise() -> None:
    assert repr(Point(1)) == "Point(x=1, y=0, tags=[])"
    assert repr(Quiet(1)) == "shown"


def test_defaults_are_made_anew_and_what_follows_is_done() -> None:
    assert Point(1).tags is not Point(1).tags
    assert Point(1, tags=["a"]).tags == ["a"]
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)
    with pytest.raises(TypeError, match="y"):
        Point(1, 2, y=3)


def test_a_record_is_a_dataclass() -> None:
    assert [f.name for f in fields(Point)] == ["x", "y", "tags"]
    assert replace(Lone(1.0), value=2.0) == Lone(2.0)
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_slots_leave_no_dictionary() -> None:
    assert not hasattr(Lone(1.0), "__dict__")


@pytest.mark.parametrize("known", [Point(1, 2, ["a"]), Lone(0.5), Named("n"), Checked(3)], ids=repr)
def test_replacing_a_field_is_that_of_dataclasses(known: object) -> None:
    name = fields(known)[0].name  # type: ignore[arg-type]  # records are dataclasses to those who ask
    ours, theirs = (change(known, **{name: 7}) for change in (records.replace, replace))
    assert type(ours) is type(known)
    assert [getattr(ours, f.name) for f in fields(known)] == [getattr(theirs, f.name) for f in fields(known)]  # type: ignore[arg-type]  # as above


def test_replacing_makes_the_record_anew() -> None:
    with pytest.raises(ValueError, match="negative"):
        records.replace(Checked(1), value=-1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        records.replace(Lone(1.0), other=2.0)


def test_what_is_derived_is_found_out_once() -> None:
    asked = []

    class Line:
        @derived
        def length(self) -> int:
            """How long it is."""
            asked.append(self)
            return 3

    line = Line()
    assert (line.length, line.length) == (3, 3)
    assert asked == [line]
    assert Line.length.__doc__ == "How long it is."


def test_contents_are_those_of_asdict() -> None:
    point = Point(1, tags=["a"])
    assert contents(point) == asdict(point) == {"x": 1, "y": 0, "tags": ["a"]}


class Step(NamedTuple):
    """A named tuple of ours."""

    name: str
    size: int = 1

    @property
    def doubled(self) -> int:
        return 2 * self.size


class Typed(typing.NamedTuple):
    """What Python makes of the same fields."""

    name: str
    size: int = 1


def test_a_named_tuple_is_that_of_typing() -> None:
    step, typed = Step("a"), Typed("a")
    assert step == typed == ("a", 1)
    assert repr(step) == repr(typed).replace("Typed", "Step")
    assert step._replace(size=3).doubled == 6
    assert (Step._fields, Step._field_defaults) == (Typed._fields, Typed._field_defaults)
    assert typing.get_type_hints(Step) == typing.get_type_hints(Typed) == {"name": str, "size": int}
    assert (Step.__module__, Step.__qualname__, Step.__doc__) == (__name__, "Step", "A named tuple of ours.")
    assert type(pickle.loads(pickle.dumps(step))) is Step
