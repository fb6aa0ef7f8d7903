"""What a line of code shows or refuses, it does here: values, dtypes, strides, errors and their words.

In flow lines of code on `t`, which is PyTorch or Retrograd, and on `F`, its `nn.functional`; each runs in
PyTorch, three times in eager mode (the third is a replay), and twice compiled, where what its last step reads
is an argument. A difference that was found and mended is a line of `agreement_cases.py`.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import pytest
from agreeing import Shown, is_told, same, shown, told
from agreement_cases import ALIKE, ERRORS, LAYOUTS

import retrograd


def begun(line: str, t: ModuleType) -> tuple[dict[str, Any], str]:
    names: dict[str, Any] = {"t": t, "F": t.nn.functional}
    steps, _, last = line.rpartition("; ")
    exec(steps, names)
    return names, last


def done(names: dict[str, Any], last: str) -> Any:
    """The last step's value; of one that is a statement, what `x` is then."""
    try:
        code = compile(last, last, "eval")
    except SyntaxError:
        exec(last, names)
        return names["x"]
    return eval(code, names)


def outcome(line: str, t: ModuleType) -> Shown:
    names, last = begun(line, t)
    try:
        return shown(done(names, last))
    except Exception as error:
        return told(error)


def compiled_outcome(line: str) -> Shown:
    names, last = begun(line, retrograd)
    tensors = [name for name, x in names.items() if isinstance(x, retrograd.Tensor)]

    @retrograd.compile_grad
    def function(*given: Any) -> Any:
        return done({**names, **dict(zip(tensors, given, strict=True))}, last)

    def called() -> Shown:
        fresh, _ = begun(line, retrograd)
        return shown(function(*(fresh[name] for name in tensors)))

    try:
        found = [called(), called()]
    except Exception as error:
        return told(error)
    assert same(*found)
    return found[0]


def agree(found: Shown, expected: Shown) -> None:
    if is_told(expected):
        assert found[0] == expected[0]
        assert issubclass(found[1], expected[1])
    else:
        assert same(found, expected), f"PyTorch: {expected}\nhere:    {found}"


@pytest.mark.parametrize("line", [*ERRORS, *LAYOUTS, *ALIKE])
def test_a_line_does_what_it_does_in_pytorch(torch: ModuleType, line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = outcome(line, torch)
        for _ in range(3):
            agree(outcome(line, retrograd), expected)


@pytest.mark.parametrize("line", [*ERRORS, *LAYOUTS, *ALIKE])
def test_compiled_it_does_so_too(torch: ModuleType, line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(compiled_outcome(line), outcome(line, torch))
