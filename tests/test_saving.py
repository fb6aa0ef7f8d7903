"""`save` and `load`: what comes back is what was written, files of others are read, and no file runs code."""

from __future__ import annotations

import copy
import io
import json
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import peer

import retrograd as rg
from retrograd import nn, optim


def again(obj: Any, folder: Path) -> Any:
    rg.save(obj, folder / "file.safetensors")
    return rg.load(folder / "file.safetensors")


@pytest.mark.parametrize(
    "dtype", [rg.float16, rg.float32, rg.float64, rg.int8, rg.uint8, rg.int16, rg.int32, rg.int64, rg.bool]
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_a_tensor_comes_back(tmp_path: Path, dtype: rg.dtype, shape: tuple[int, ...]) -> None:
    x = (rg.randn(shape) * 3).to(dtype)
    y = again(x, tmp_path)
    assert y.dtype is dtype
    assert y.shape == x.shape
    np.testing.assert_array_equal(y, x)


def test_a_leaf_requires_grad_again_and_a_transposed_one_keeps_its_elements(tmp_path: Path) -> None:
    x = rg.randn(2, 3, requires_grad=True)
    first, second = again([x, x.t()], tmp_path)
    assert first.requires_grad
    assert second.requires_grad  # as in PyTorch: what is loaded is a leaf
    assert second.is_leaf
    np.testing.assert_array_equal(second.detach(), x.detach().t())


def _shown(x: Any) -> list[Any]:
    """Tensors that lie in the memory of `x`, 3 rows of 4, or beside it."""
    return [
        [x, x[1:]], [x[:2], x[1:]], [x[0], x[1]], [x[:, ::2], x[:, 1::2]], [x, x.t()], [x.t()], [x, x],
        [x, x[1, 1]], [x[:0], x[:0]], [x.detach(), x[2:].detach(), x.clone()], [x[1:, 1:], x[:2, :2]],
    ]  # fmt: skip


@pytest.mark.parametrize("which", range(11))
@pytest.mark.parametrize("how", ["saved", "copied"])
def test_what_shared_memory_shares_it_again_as_in_pytorch(which: int, how: str) -> None:
    torch = peer("torch", "torch")
    found = []
    for t in (rg, torch):
        given = _shown(t.arange(12.0).reshape(3, 4))[which]
        if how == "saved":
            t.save(given, file := io.BytesIO())
            file.seek(0)
            again = t.load(file)
        else:
            again = copy.deepcopy(given)
        assert (again[0] is again[-1]) == (given[0] is given[-1])
        for x in again:
            x.add_(10)
        found.append([(x.tolist(), x.stride()) for x in again])
        assert given[0].tolist() == _shown(t.arange(12.0).reshape(3, 4))[which][0].tolist()
    assert found[0] == found[1]


def test_tied_weights_are_tied_again(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    found = again(model.state_dict(), tmp_path)
    assert found["0.weight"].data_ptr() == found["1.weight"].data_ptr()
    assert found["0.bias"].data_ptr() != found["1.bias"].data_ptr()


def test_elements_of_several_dtypes_in_one_memory(tmp_path: Path) -> None:
    x = rg.arange(4.0)
    bits, whole = again([x[1:].view(rg.int32), x], tmp_path)
    whole.zero_()
    assert (bits.dtype, bits.tolist()) == (rg.int32, [0, 0, 0])


def test_a_copied_parameter_has_memory_of_its_own_and_no_gradient() -> None:
    for t in (rg, peer("torch", "torch")):
        weight = t.nn.Parameter(t.ones(2))
        weight.grad = t.ones(2)
        first, data = copy.deepcopy([weight, weight.detach()])
        data.zero_()
        assert (first.tolist(), first.grad, type(first)) == ([1, 1], None, t.nn.Parameter)


def test_nested_values_come_back_as_they_were(tmp_path: Path) -> None:
    given = {
        "model": OrderedDict([("a.b", rg.ones(2)), ("a", {"b": rg.zeros(2)})]),
        "epoch": 3,
        3: (1.5, None, True, "text", [float("inf")]),
    }
    found = again(given, tmp_path)
    assert list(found) == list(given)
    assert type(found["model"]) is OrderedDict
    assert found["model"]["a.b"].tolist() == [1, 1]
    assert found["model"]["a"]["b"].tolist() == [0, 0]
    assert (found["epoch"], found[3]) == (3, given[3])


@pytest.mark.parametrize(
    "value",
    [
        rg.float32, rg.bfloat16, rg.bool, rg.device("cpu"), rg.Size([2, 3]), 1 - 2j, b"\x00ab", {1, 2},
        frozenset("a"),
        (rg.Size([]), [rg.int64], {"a": {3.5}}),
    ],
)  # fmt: skip
def test_what_describes_tensors_comes_back(value: Any, tmp_path: Path) -> None:
    found = again({"it": value}, tmp_path)["it"]
    assert found == value
    assert type(found) is type(value)


def test_a_parameter_comes_back_as_one(tmp_path: Path) -> None:
    for wanted in (True, False):
        given = nn.Parameter(rg.arange(3.0), requires_grad=wanted)
        found = again([given], tmp_path)[0]
        assert (type(found), found.requires_grad, found.tolist()) == (nn.Parameter, wanted, [0, 1, 2])


def test_training_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    def made() -> tuple[nn.Module, Any]:
        rg.manual_seed(1)
        layer = nn.Linear(3, 2)
        return layer, optim.Adam(layer.parameters(), lr=0.1)

    def step(layer: nn.Module, optimizer: Any) -> float:
        optimizer.zero_grad()
        loss = layer(rg.ones(4, 3)).pow(2).sum()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    layer, optimizer = made()
    step(layer, optimizer)
    found = again({"layer": layer.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    expected = [step(layer, optimizer) for _ in range(3)]

    layer, optimizer = made()
    layer.load_state_dict(found["layer"])
    optimizer.load_state_dict(found["optimizer"])
    assert [step(layer, optimizer) for _ in range(3)] == expected


def test_other_programs_read_the_tensors_and_theirs_are_read(tmp_path: Path) -> None:
    """Those of every dtype, empty ones and single numbers, which lie in another order than they are given."""
    peer("safetensors", "safetensors")
    from safetensors import numpy as theirs

    rg.save({"layer": {"weight": rg.ones(2)}, "n": 1}, tmp_path / "ours")
    assert theirs.load_file(tmp_path / "ours")["layer.weight"].tolist() == [1, 1]

    kinds = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
    arrays = {kind: np.arange(3).astype(kind) for kind in kinds}
    arrays |= {"none": np.zeros((2, 0), np.float32), "number": np.asarray(2.5)}
    theirs.save_file(arrays, tmp_path / "theirs", metadata={"about": "numbers"})
    found = rg.load(tmp_path / "theirs")
    rg.save({name: rg.from_numpy(array) for name, array in arrays.items()}, tmp_path / "ours")
    read = theirs.load_file(tmp_path / "ours")
    for name, array in arrays.items():
        for each in (found[name].numpy(), read[name].reshape(array.shape)):
            assert each.dtype == array.dtype
            np.testing.assert_array_equal(each, array)


def test_halves_are_read_and_written(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    x = rg.tensor([1.0, 2.5, -0.1], dtype=rg.bfloat16)
    y = again(x, tmp_path)
    assert y.dtype is rg.bfloat16
    assert y.tolist() == x.tolist()


def file_of(header: object, data: bytes = b"", length: int | None = None) -> io.BytesIO:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return io.BytesIO((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def entry(dtype: str = "F32", shape: object = (1,), begin: object = 0, end: object = 4) -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        (io.BytesIO(), "it has no header of JSON"),
        (file_of({}, length=2**40), "its header would be too long"),
        (file_of({}, length=9), "it has no header of JSON"),
        (file_of([1]), "it has no header of JSON"),
        (file_of(b"\xff\xfe"), "it has no header of JSON"),
        (file_of({"x": 3}), "its header does not describe 'x'"),
        (file_of(entry(shape=[-1])), "its header does not describe 'x'"),
        (file_of(entry(end="4")), "its header does not describe 'x'"),
        (file_of(entry(), b"123"), "it ends within 'x'"),
        (file_of(entry(), b"12345"), "more follows than the header names"),
        (file_of(entry(begin=4, end=8), b"12345678"), "'x' lies where it does not fit"),
        (file_of(entry(end=8), b"12345678"), "'x' lies where it does not fit"),
    ],
)
def test_a_damaged_file_is_told_from_a_whole_one(file: io.BytesIO, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"not in the safetensors format: {wrong}"):
        rg.load(file)


def test_a_dtype_that_is_not_here_is_named() -> None:
    with pytest.raises(TypeError, match="'x', which is of dtype F8_E4M3"):
        rg.load(file_of(entry("F8_E4M3", end=1), b"1"))


def test_open_files_are_written_and_read() -> None:
    file = io.BytesIO()
    rg.save({"w": rg.ones(2), "epoch": 3}, file)
    file.seek(0)
    found = rg.load(file, weights_only=True)
    assert found["w"].tolist() == [1, 1]
    assert found["epoch"] == 3
    with pytest.raises(ValueError, match="not in the safetensors format"):
        rg.load(io.BytesIO(pickle.dumps(Trap())))


def test_an_object_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"save\(\) of model, which is a Linear; .*; save a module's state_dict"
    ):
        rg.save({"model": nn.Linear(2, 2)}, tmp_path / "file")
    with pytest.raises(TypeError, match="keys are strings or ints"):
        rg.save({1.5: rg.ones(2)}, tmp_path / "file")
    assert not list(tmp_path.iterdir())


class Trap:
    def __reduce__(self) -> Any:
        return sys.exit, (1,)


def test_a_pickled_file_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"not in the safetensors format.*hold pickled objects"):
        rg.load(tmp_path / "trap")
