"""Retrograd: tensor code the PyTorch way, compiled together with its derivative.

The front door: the public names, and nothing else. The functions come by name from the runtime's two tables.
Rooms that not every program enters (the compiler, `nn`, `optim`) are opened when they are named: see `ROOMS`.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from math import e, inf, nan, pi
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from retrograd.compiler.spinning import load_numpy
from retrograd.compiler.uncollected import lasting

with lasting():
    load_numpy()
    from retrograd.compiler.dtypes import (
        DType as dtype,
    )
    from retrograd.compiler.dtypes import (
        bfloat16,
        bool_,
        complex64,
        complex128,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        promote_types,
        set_default_dtype,
        uint8,
    )
    from retrograd.compiler.dtypes import (
        default_dtype as get_default_dtype,
    )
    from retrograd.runtime import autograd, functions
    from retrograd.runtime.autograd import (
        enable_grad,
        inference_mode,
        is_grad_enabled,
        no_grad,
        set_grad_enabled,
    )
    from retrograd.runtime.device import default_device as get_default_device
    from retrograd.runtime.device import device, set_default_device
    from retrograd.runtime.eager.formats import FORMATS, memory_format
    from retrograd.runtime.formatting import get_printoptions, printoptions, set_printoptions
    from retrograd.runtime.functions import pointwise
    from retrograd.runtime.functions.inspecting import layout, strided
    from retrograd.runtime.random.generator import Generator, default_generator
    from retrograd.runtime.tensor import Size, Tensor

__version__ = "0.1.0"

float, double, half = float32, float64, float16
cfloat, cdouble = complex64, complex128
long, int, short, bool = int64, int32, int16, bool_
newaxis = None

_TABLES = pointwise.FUNCTIONS | functions.FUNCTIONS | functions.inspecting.TYPES | FORMATS
globals().update(_TABLES, legacy_contiguous_format=FORMATS["contiguous_format"])

ROOMS = {
    "accelerator": "retrograd.runtime.accelerator",
    "amp": "retrograd.runtime.amp",
    "cpu": "retrograd.runtime.cpu",
    "cpu.amp": "retrograd.runtime.amp.cpu",
    "cuda": "retrograd.runtime.cuda",
    "cuda.amp": "retrograd.runtime.amp.cuda",
    "distributed": "retrograd.runtime.distributed",
    "distributions": "retrograd.runtime.distributions",
    "jit": "retrograd.runtime.jit",
    "multiprocessing": "retrograd.runtime.multiprocessing",
    "nn": "retrograd.runtime.nn",
    "nn.utils.stateless": "retrograd.runtime.nn.utils.stateless",
    "optim": "retrograd.runtime.optim",
    "func": "retrograd.runtime.func",
    "fft": "retrograd.runtime.fft",
    "linalg": "retrograd.runtime.linalg",
    "special": "retrograd.runtime.special",
    "utils": "retrograd.runtime.utils",
    "testing": "retrograd.runtime.testing",
    "autograd": "retrograd.runtime.autograd",
    "autograd.profiler": "retrograd.runtime.profiler",
    "backends": "retrograd.runtime.backends",
    "profiler": "retrograd.runtime.profiler",
    "random": "retrograd.runtime.seeding",
    "serialization": "retrograd.runtime.serialization",
    "signal": "retrograd.runtime.signal",
    "types": "retrograd.runtime.types",
    "version": "retrograd.runtime.version",
}
"""Modules under their public names, those below them, too: `retrograd.nn.functional` is the runtime's."""

FILES = {
    "amp": "autocast_mode grad_scaler",
    "cpu.amp": "autocast_mode grad_scaler",
    "cuda.amp": "autocast_mode common grad_scaler",
    "autograd": "anomaly_mode grad_mode variable",
    "distributions": "bernoulli beta binomial categorical cauchy chi2 continuous_bernoulli dirichlet "
    "exp_family exponential fishersnedecor gamma generalized_pareto geometric gumbel "
    "half_cauchy half_normal independent inverse_gamma kumaraswamy laplace lkj_cholesky "
    "log_normal logistic_normal lowrank_multivariate_normal mixture_same_family "
    "multinomial multivariate_normal negative_binomial normal one_hot_categorical pareto "
    "poisson relaxed_bernoulli relaxed_categorical studentT transformed_distribution "
    "uniform von_mises weibull wishart",
    "nn.modules": "activation adaptive batchnorm channelshuffle container conv distance dropout flatten fold "
    "instancenorm lazy linear loss module normalization padding pixelshuffle pooling rnn sparse transformer "
    "upsampling utils",
    "nn.utils": "clip_grad convert_parameters memory_format",
    "optim": "adadelta adamax adamw asgd nadam radam rprop",
    "utils.data": "dataloader dataset distributed sampler",
}
"""Files that PyTorch divides a room into and programs import from: here each of these names is the room."""

LATE = {
    "compile": "retrograd.runtime.compiled.pytorch",
    "compile_grad": "retrograd.runtime.compiled.compile_grad",
    "compile_step": "retrograd.runtime.compiled.compile_step",
    "save": "retrograd.runtime.saving",
    "GradScaler": "retrograd.runtime.amp",
    "is_storage": "retrograd.runtime.eager.storage",
    "load": "retrograd.runtime.saving",
    "from_sympy": "retrograd.runtime.compiled.formulas",
    "to_sympy": "retrograd.runtime.compiled.formulas",
    "get_num_threads": "retrograd.runtime.native.cpu",
    "set_flush_denormal": "retrograd.runtime.native.floats",
    "to_dlpack": "retrograd.runtime.utils.dlpack",
    "vmap": "retrograd.runtime.func",
    "get_float32_matmul_precision": "retrograd.runtime.precision",
    "set_float32_matmul_precision": "retrograd.runtime.precision",
    "set_num_threads": "retrograd.runtime.native.cpu",
    **dict.fromkeys(
        (
            "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode",
            "is_deterministic_algorithms_warn_only_enabled", "set_anomaly_enabled",
            "set_default_tensor_type", "set_deterministic_debug_mode", "use_deterministic_algorithms",
            "get_num_interop_threads", "is_warn_always_enabled", "set_num_interop_threads",
            "set_warn_always",
        ),
        "retrograd.runtime.switches",
    ),
    **dict.fromkeys(
        ("is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_inference_mode_enabled"),
        "retrograd.runtime.autograd.asking",
    ),
    **dict.fromkeys(
        ("sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum"),
        "retrograd.runtime.functions.sizes",
    ),
    **dict.fromkeys(
        (
            "autocast", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
            "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
            "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled",
            "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
            "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype",
        ),
        "retrograd.runtime.amp.autocasting",
    ),
    **dict.fromkeys(("cond", "scan", "while_loop"), "retrograd.runtime.func.control"),
    **dict.fromkeys(("istft", "stft"), "retrograd.runtime.spectra"),
    **dict.fromkeys(("pca_lowrank", "svd_lowrank"), "retrograd.runtime.functions.low_rank"),
    "lobpcg": "retrograd.runtime.functions.lobpcg",
    **dict.fromkeys(
        (
            "affine_grid_generator", "conv_tbc", "convolution", "embedding_bag", "embedding_renorm_",
            "grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "max_pool1d_with_indices",
            "native_batch_norm", "native_dropout", "native_group_norm", "native_layer_norm",
        ),
        "retrograd.runtime.functions.beneath",
    ),
    **dict.fromkeys(
        (
            "gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell",
        ),
        "retrograd.runtime.nn.rnn_functions",
    ),
}  # fmt: skip
"""Names that are imported from these modules when they are first asked for."""


def _publish(module: ModuleType, name: str) -> None:
    """Have the classes of a room, and of those below it, say the names under which users find them. Who looks
    for a class's source or annotations finds its module under that name. Those of other rooms, which it uses,
    keep theirs: in the native language annotations have meaning where they are written."""
    sys.modules.setdefault(name, module)
    if not isinstance(own := vars(module).get("__getattr__"), partial):
        vars(module)["__getattr__"] = partial(_missing, name, own)
    for label, found in list(vars(module).items()):
        own = isinstance(found, type) and _room(found.__module__) == _room(module.__name__)
        if own and found.__name__ == label:
            _say(found, module, name)
        elif isinstance(found, ModuleType) and found.__name__ == f"{module.__name__}.{label}":
            _publish(found, f"{name}.{label}")


def _missing(module: str, own: Callable[[str], Any] | None, name: str) -> Any:
    """What a room says, under its public name, of what it does not have, or has only when asked (`own`)."""
    if _is_file(f"{module}.{name}"):
        return sys.modules[module]
    if f"{module}.{name}".removeprefix(f"{__name__}.") in ROOMS:
        return import_module(f"{module}.{name}")
    if own is not None:
        return own(name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def _is_file(name: str) -> builtins.bool:
    """Whether a public name is one of `FILES`."""
    room, _, file = name.removeprefix(f"{__name__}.").rpartition(".")
    return file in FILES.get(room, "").split()


def _room(name: str) -> str:
    """The room that a module, given by its name, is of."""
    return ".".join(name.split(".")[:3])


def _say(cls: type, module: ModuleType, name: str) -> None:
    """Have a class say a module's public name. From Python 3.13 on it then forgets the line where it begins,
    which stays true where the module is the class's own."""
    line = vars(cls).get("__firstlineno__") if cls.__module__ == module.__name__ else None
    cls.__module__ = name
    if line is not None:
        cls.__firstlineno__ = line  # type: ignore[attr-defined]  # Python 3.13's


for _class in (
    dtype,
    device,
    Generator,
    Size,
    memory_format,
    no_grad,
    enable_grad,
    set_grad_enabled,
    inference_mode,
):
    _class.__module__ = __name__
dtype.__qualname__ = "dtype"
_publish(autograd, f"{__name__}.autograd")


def _of_compiling(name: str) -> Any:
    """What users ask of `compiler`, which knows of no Tensors itself."""
    asked = import_module("retrograd.runtime.compiled.asked") if not name.startswith("_") else None
    if name not in getattr(asked, "__all__", ()):
        raise AttributeError(f"module '{__name__}.compiler' has no attribute {name!r}")
    return getattr(asked, name)


vars(sys.modules[f"{__name__}.compiler"])["__getattr__"] = _of_compiling


class _Rooms:
    """Finds and loads the modules of `ROOMS`, and those below them."""

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        loader = cast("Loader", self)
        return ModuleSpec(fullname, loader) if package == __name__ and name.split(".")[0] in ROOMS else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        public = spec.name.removeprefix(f"{__name__}.")
        name, _, below = public.partition(".")
        if _is_file(spec.name):
            module = sys.modules[spec.name.rpartition(".")[0]]
        else:
            module = import_module(ROOMS[public] if public in ROOMS else f"{ROOMS[name]}.{below}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        name = module.__spec__.name
        module.__spec__ = module.__spec__.loader_state  # it has been run, and is what it was
        if not _is_file(name):
            _publish(module, name)


sys.meta_path.insert(0, _Rooms())  # first: the path of a room would give a second copy of what is below it

if TYPE_CHECKING:
    from importlib.abc import Loader

    from retrograd.runtime import (
        accelerator,
        amp,
        backends,
        cpu,
        cuda,
        distributions,
        func,
        linalg,
        nn,
        optim,
        special,
        testing,
        utils,
        version,
    )
    from retrograd.runtime import seeding as random
    from retrograd.runtime.amp import autocast
    from retrograd.runtime.compiled.compile_grad import compile_grad
    from retrograd.runtime.compiled.compile_step import compile_step
    from retrograd.runtime.compiled.formulas import from_sympy, to_sympy
    from retrograd.runtime.compiled.pytorch import compile
    from retrograd.runtime.func import vmap
    from retrograd.runtime.native.cpu import get_num_threads, set_num_threads
    from retrograd.runtime.precision import (
        get_float32_matmul_precision,
        set_float32_matmul_precision,
    )
    from retrograd.runtime.saving import load, save


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in LATE:
        globals()[name] = found = getattr(import_module(LATE[name]), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, without what this file imports to find them."""
    rooms = (name for name in ROOMS if "." not in name)
    return sorted({*__all__, *_TABLES, *rooms, *LATE, *(name for name in globals() if name.startswith("__"))})


__all__ = [
    "Generator",
    "Size",
    "Tensor",
    "accelerator",
    "amp",
    "autocast",
    "autograd",
    "backends",
    "bfloat16",
    "bool",
    "cdouble",
    "cfloat",
    "compile",
    "compile_grad",
    "compile_step",
    "complex128",
    "complex64",
    "cpu",
    "cuda",
    "default_generator",
    "device",
    "distributions",
    "double",
    "dtype",
    "e",
    "enable_grad",
    "float",
    "float16",
    "float32",
    "float64",
    "from_sympy",
    "func",
    "get_default_device",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_threads",
    "get_printoptions",
    "half",
    "inf",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "layout",
    "linalg",
    "load",
    "long",
    "memory_format",
    "nan",
    "newaxis",
    "nn",
    "no_grad",
    "optim",
    "pi",
    "printoptions",
    "promote_types",
    "random",
    "save",
    "set_default_device",
    "set_default_dtype",
    "set_float32_matmul_precision",
    "set_num_threads",
    "set_grad_enabled",
    "set_printoptions",
    "short",
    "special",
    "strided",
    "testing",
    "to_sympy",
    "uint8",
    "utils",
    "version",
    "vmap",
]
