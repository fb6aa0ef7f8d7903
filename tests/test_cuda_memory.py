"""GPUs as `retrograd.cuda` shows them: devices, streams, events, memory. The driver is simulated."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from simulated_driver import SimulatedDriver

import retrograd
from retrograd import cuda
from retrograd.compiler.errors import ArgumentError, DeviceError, OutOfMemoryError
from retrograd.runtime.cuda import devices, driver


@pytest.fixture
def gpus() -> Iterator[SimulatedDriver]:
    """Two devices."""
    with driver.use(SimulatedDriver(devices=2)) as lent:
        assert isinstance(lent, SimulatedDriver)
        yield lent


# ---- devices -----------------------------------------------------------------------------------------------


def test_a_device_is_named_whether_it_is_there_or_not() -> None:
    assert repr(retrograd.device("cuda:1")) == "device(type='cuda', index=1)"
    assert str(retrograd.device("cuda", 0)) == "cuda:0"
    with pytest.raises(DeviceError, match="the devices here are cpu, cuda"):
        retrograd.device("tpu")


def test_the_devices_are_described(gpus: SimulatedDriver) -> None:
    assert cuda.is_available()
    assert cuda.device_count() == 2
    assert cuda.get_device_name(1) == gpus.device_name(1)
    assert cuda.get_device_capability("cuda:0") == (9, 0)
    properties = cuda.get_device_properties(retrograd.device("cuda"))
    assert (properties.major, properties.total_memory) == (9, gpus.total_memory(0))


def test_a_device_that_is_not_there_is_an_error(gpus: SimulatedDriver) -> None:
    with pytest.raises(DeviceError, match="invalid device ordinal") as raised:
        retrograd.ones(2, device="cuda:2")
    assert "device cuda:2; there is cuda:0 to cuda:1" in raised.value.__notes__[0]
    with pytest.raises(ArgumentError, match="Expected a cuda device, but got: cpu"):
        cuda.get_device_name("cpu")


def test_the_current_device_is_where_cuda_is(gpus: SimulatedDriver) -> None:
    assert str(retrograd.ones(1, device="cuda").device) == "cuda:0"
    with cuda.device(1):
        assert cuda.current_device() == 1
        assert str(retrograd.ones(1, device="cuda").device) == "cuda:1"
        assert str(retrograd.ones(1).cuda().device) == "cuda:1"
    assert cuda.current_device() == 0
    cuda.set_device("cuda:1")
    assert retrograd.ones(1, device="cuda").get_device() == 1


def test_elements_go_from_one_device_to_another(gpus: SimulatedDriver) -> None:
    x = retrograd.arange(6.0, device="cuda:0").reshape(2, 3)
    y = x.t().to("cuda:1")
    assert str(y.device) == "cuda:1"
    assert y.cpu().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert x.to("cuda:0") is x


# ---- streams and events ------------------------------------------------------------------------------------


def test_work_goes_to_the_current_stream(gpus: SimulatedDriver) -> None:
    side = cuda.Stream()
    x = retrograd.ones(4, device="cuda")
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        assert cuda.current_stream() == side
        y = x + 1
        done = side.record_event()
    assert cuda.current_stream() == cuda.default_stream() != side
    done.wait()
    assert (y * 2).tolist() == [4, 4, 4, 4]
    side.synchronize()
    assert side.query()


def test_memory_that_another_stream_used_is_given_out_when_that_is_done(gpus: SimulatedDriver) -> None:
    side = cuda.Stream()
    x = retrograd.ones(64, device="cuda")
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        y = x * 3
    del x  # its memory may come again at once
    z = retrograd.zeros(64, device="cuda") + 5
    cuda.synchronize()
    assert y.tolist() == [3] * 64
    assert z.tolist() == [5] * 64


def test_events_measure_time(gpus: SimulatedDriver) -> None:
    start, end = (cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    retrograd.ones(8, device="cuda") + 1
    end.record()
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) >= 0
    with pytest.raises(ArgumentError, match="enable_timing=True"):
        start.elapsed_time(cuda.Event())


# ---- memory ------------------------------------------------------------------------------------------------


def test_memory_is_counted_and_comes_again(gpus: SimulatedDriver) -> None:
    retrograd.ones(2, device="cuda")  # the number stays there
    cuda.empty_cache()
    before = cuda.memory_allocated()
    x = retrograd.ones(1000, device="cuda")
    assert cuda.memory_allocated() - before == 4096
    reserved = cuda.memory_reserved()
    del x
    assert cuda.memory_allocated() == before
    x = retrograd.zeros(1000, device="cuda")
    assert cuda.memory_reserved() == reserved
    assert cuda.max_memory_allocated() == before + 4096
    del x
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == before
    cuda.empty_cache()
    assert cuda.memory_reserved() == before
    assert cuda.memory_stats()["reserved_bytes.all.current"] == before


def test_memory_that_is_kept_is_given_back_before_there_is_too_little() -> None:
    with driver.use(SimulatedDriver(memory=16 << 20)):
        for _ in range(3):
            x = retrograd.zeros(1 << 20, device="cuda")  # 4 MiB
            y = retrograd.zeros(3 << 19, device="cuda")  # 6 MiB
            del x, y
        big = retrograd.zeros(3 << 20, device="cuda")  # 12 MiB: only if the others are given back
        with pytest.raises(OutOfMemoryError, match=r"CUDA out of memory\. Tried to allocate 8\.00 MiB"):
            retrograd.zeros(2 << 20, device="cuda")
        assert big.numel() == 3 << 20


def test_nothing_is_left_when_all_is_dropped() -> None:
    lent = SimulatedDriver()
    with driver.use(lent):
        x = retrograd.ones(10, device="cuda", requires_grad=True)
        (x * x).sum().backward()
        assert x.grad is not None
        del x
        gc.collect()
        gpu = devices.get()
        assert cuda.memory_allocated() == 512 * len(gpu.numbers.kept)
        gpu.made.clear()
        gpu.numbers.kept.clear()
        gc.collect()
        cuda.empty_cache()
        assert [leak for leak in lent.leaks() if "bytes" in leak] == []


# ---- pinned memory -----------------------------------------------------------------------------------------


def test_copies_from_pinned_memory_wait_unless_they_are_told_not_to(gpus: SimulatedDriver) -> None:
    x = retrograd.arange(6.0).pin_memory()
    assert x.is_pinned()
    assert x.pin_memory() is x
    assert not x.clone().is_pinned()
    y = x.cuda()
    x += 1  # the copy is done
    assert y.tolist() == [0, 1, 2, 3, 4, 5]
    z = x.to("cuda", non_blocking=True)
    cuda.synchronize()
    x.zero_()
    assert z.tolist() == [1, 2, 3, 4, 5, 6]
    back = z[::2].to("cpu", non_blocking=True)
    cuda.synchronize()
    assert back.is_pinned()
    assert back.tolist() == [1, 3, 5]
    assert retrograd.zeros(2, pin_memory=True).is_pinned()


def test_pinned_memory_is_given_back_with_its_last_view(gpus: SimulatedDriver) -> None:
    view = retrograd.ones(5).pin_memory()[1:]
    gc.collect()
    assert [leak for leak in gpus.leaks() if leak.startswith("pinned")] == ["pinned 20 bytes"]
    del view
    gc.collect()
    assert [leak for leak in gpus.leaks() if leak.startswith("pinned")] == []


# ---- shared with other libraries ---------------------------------------------------------------------------


class Exporter:
    """Another library's array, by either interface."""

    def __init__(self, tensor: retrograd.Tensor) -> None:
        self.tensor = tensor

    @property
    def __cuda_array_interface__(self) -> object:
        return self.tensor.__cuda_array_interface__


def test_memory_is_shared_by_dlpack(gpus: SimulatedDriver) -> None:
    x = retrograd.arange(6, device="cuda:1").reshape(2, 3)
    assert x.__dlpack_device__() == (2, 1)
    y = retrograd.from_dlpack(x.t()[1:])
    assert y.data_ptr() == x.data_ptr() + 8
    assert (y.dtype, y.shape, str(y.device)) == (retrograd.int64, (2, 2), "cuda:1")
    y[0, 1] = 50
    assert x.tolist() == [[0, 1, 2], [3, 50, 5]]


def test_memory_lives_as_long_as_somebody_has_it(gpus: SimulatedDriver) -> None:
    retrograd.ones(2, device="cuda")  # the number stays there
    before = cuda.memory_allocated()
    x = retrograd.ones(4, device="cuda")
    y = retrograd.from_dlpack(x)
    del x
    assert y.tolist() == [1, 1, 1, 1]
    assert cuda.memory_allocated() > before
    del y
    assert cuda.memory_allocated() == before
    unused = retrograd.ones(4, device="cuda").__dlpack__(stream=-1)
    assert cuda.memory_allocated() > before
    del unused
    assert cuda.memory_allocated() == before


def test_memory_is_shared_by_the_cuda_array_interface(gpus: SimulatedDriver) -> None:
    x = retrograd.arange(6.0, device="cuda").reshape(2, 3)
    told = x.t().__cuda_array_interface__
    assert (told["shape"], told["typestr"], told["strides"]) == ((3, 2), "<f4", (4, 12))
    y = retrograd.as_tensor(Exporter(x.t()))
    y[0, 1] = 9
    assert x.tolist() == [[0, 1, 2], [9, 4, 5]]
    with pytest.raises(AttributeError, match="on non-CUDA tensor type"):
        _ = retrograd.ones(2).__cuda_array_interface__
    assert not hasattr(retrograd.ones(2), "__cuda_array_interface__")
    with pytest.raises(RuntimeError, match="Can't get __cuda_array_interface__ on Variable that requires"):
        _ = x.requires_grad_().__cuda_array_interface__


def test_a_consumers_stream_waits(gpus: SimulatedDriver) -> None:
    side = cuda.Stream()
    x = retrograd.ones(4, device="cuda") * 2
    with cuda.stream(side):
        y = retrograd.from_dlpack(x)
        z = y + 1
    side.synchronize()
    assert z.tolist() == [3, 3, 3, 3]


# ---- names of torch.cuda -----------------------------------------------------------------------------------


def test_seeds_begin_the_random_numbers_of_a_gpu_anew(simulated_gpus: SimulatedDriver) -> None:
    for seed in (retrograd.cuda.manual_seed, retrograd.cuda.manual_seed_all):
        seed(7)
        assert retrograd.cuda.initial_seed() == 7
        first = retrograd.rand(3, device="cuda")
        seed(7)
        assert (retrograd.rand(3, device="cuda") == first).all()
    retrograd.cuda.seed_all()
    assert not (retrograd.rand(3, device="cuda") == first).all()


def test_what_a_gpu_computes_with(simulated_gpus: SimulatedDriver) -> None:
    retrograd.cuda.init()
    assert retrograd.cuda.is_initialized()
    assert retrograd.cuda.is_bf16_supported(including_emulation=False)
    assert retrograd.cuda.get_arch_list()[0] == "sm_75"


def test_without_a_gpu_nothing_is_supported() -> None:
    if retrograd.cuda.is_available():
        pytest.skip("there is a GPU")
    assert not retrograd.cuda.is_bf16_supported()
    assert retrograd.cuda.get_arch_list() == []


def test_bfloat16_is_shared_by_dlpack(simulated_gpus: SimulatedDriver) -> None:
    pytest.importorskip("ml_dtypes", reason="bfloat16 needs the package ml_dtypes")
    x = retrograd.ones(4, device="cuda", dtype=retrograd.bfloat16)
    y = retrograd.from_dlpack(x)
    assert y.dtype is retrograd.bfloat16
    assert y.data_ptr() == x.data_ptr()


def test_the_state_of_random_numbers_is_kept_and_set(gpus: SimulatedDriver) -> None:
    cuda.manual_seed_all(5)
    state, states = cuda.get_rng_state(), cuda.get_rng_state_all()
    assert state.dtype is retrograd.uint8
    assert str(state.device) == "cpu"
    assert len(states) == 2
    first = retrograd.rand(5, device="cuda").tolist()
    cuda.set_rng_state(state)
    assert retrograd.rand(5, device="cuda").tolist() == first
    cuda.set_rng_state_all(states)
    assert retrograd.rand(5, device="cuda:1").tolist() == first
    with pytest.raises(DeviceError, match="invalid device ordinal"):
        cuda.get_rng_state("cuda:7")


def test_statistics_streams_and_events_are_shown(gpus: SimulatedDriver) -> None:
    x = retrograd.ones(1 << 18, device="cuda")
    summary = cuda.memory_summary()
    assert summary.splitlines()[0] == "Memory of cuda:0, simulated GPU 0"
    assert summary.splitlines()[2].split() == ["allocated", "1.00", "MiB", "1.00", "MiB"]
    del x
    cuda.reset_max_memory_allocated()
    assert cuda.max_memory_allocated() == cuda.memory_allocated() < 1024
    event = cuda.Event()
    assert repr(event) == "<retrograd.cuda.Event uninitialized>"
    event.record()
    assert repr(event).startswith("<retrograd.cuda.Event 0x")
    assert repr(cuda.current_stream()) == "<retrograd.cuda.Stream device=cuda:0 cuda_stream=0x0>"
