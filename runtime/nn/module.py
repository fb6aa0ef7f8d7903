"""Module: something with parameters, parts that are Modules too, and a `forward`.

    class Net(Module):
        def __init__(self):
            super().__init__()
            self.hidden = Linear(4, 3)         # assigning registers: parameters, buffers, modules

        def forward(self, x):
            return self.hidden(x).relu()

What is assigned to an attribute goes, by its class, into one of three tables (`_parameters`, `_buffers`,
`_modules`) or, if it is none of these, is a plain attribute; `__getattr__` finds it again. Everything else
here walks over those tables. Hooks are in `hooks`, saving and loading in `state`, other dtypes and devices in
`converting`. Names, order and texts are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from typing import Any, TypeVar

from retrograd.compiler.errors import (
    ArgumentError,
    AttributeMissingError,
    GradientError,
    NameTakenError,
    NotWrittenError,
    mirrored,
)
from retrograd.runtime.modes import STATE
from retrograd.runtime.nn.converting import Convertible
from retrograd.runtime.nn.hooks import Hooked
from retrograd.runtime.nn.parameter import Buffer, Parameter, typename
from retrograd.runtime.nn.state import Stateful
from retrograd.runtime.tensor import Tensor

M = TypeVar("M", bound="Module")


class Module(Hooked, Stateful, Convertible):
    """The base of all parts of a network. A subclass calls `super().__init__()` first, and has `forward`."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _compiled_call_impl: Callable[..., Any] | None = None
    call_super_init: bool = False
    """Whether `__init__` goes on to that of a class which a subclass names beside this one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        vars(self).update(training=True, _parameters={}, _buffers={}, _not_saved=set(), _modules={})
        vars(self)["_compiled_call_impl"] = None
        self._no_hooks()
        if self.call_super_init:
            super().__init__(*args, **kwargs)
        elif args or kwargs:
            found = f"got an unexpected keyword argument '{next(iter(kwargs), '')}'"
            counted = f"takes 1 positional argument but {len(args) + 1} were given"
            raise ArgumentError(mirrored(f"{type(self).__name__}.__init__() {found if kwargs else counted}"))

    def _forward_missing(self, *args: Any, **kwargs: Any) -> Any:
        raise NotWrittenError(
            mirrored(f'Module [{type(self).__name__}] is missing the required "forward" function')
        )

    forward: Callable[..., Any] = _forward_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__  # sooner than attributes, which go by way of `__getattr__`
        try:
            special = (
                own["_backward_hooks"] or own["_backward_pre_hooks"] or own["_forward_hooks"]
                or own["_forward_pre_hooks"] or own["_compiled_call_impl"]
            )  # fmt: skip
        except KeyError as missing:  # of a module that was not begun: an error, which says what it lacks
            special = getattr(self, missing.args[0])
        return self._call_specially(args, kwargs) if special else self.forward(*args, **kwargs)

    def _call_specially(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is compiled, or that hooks stand around."""
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        return self._call_hooked(args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have calls of this module compiled from now on; arguments are those of `compile`."""
        self._compiled_call_impl = import_module("retrograd.runtime.compiled.pytorch").compile(  # late: above
            self._call_impl, *args, **kwargs
        )

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """A call that is not compiled."""
        return self._call_hooked(args, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but compiled calls, which are those of this very module."""
        return {**vars(self), "_compiled_call_impl": None}

    # ---- attributes ----------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if "_modules" in self.__dict__:
            for table in (self._parameters, self._modules, self._buffers):
                if name in table:
                    return table[name]
        raise AttributeMissingError(mirrored(f"'{type(self).__name__}' object has no attribute '{name}'"))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, keep="_modules")
            self._modules[name] = value
        elif isinstance(value, Buffer):
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        else:
            self._set_plain(name, value)

    def _set_plain(self, name: str, value: Any) -> None:
        """An attribute, unless the name is registered: then only None, or for a buffer a Tensor, will do."""
        tables = self.__dict__
        if name in tables.get("_parameters", ()):
            self._only_none(name, value, "parameter", "torch.nn.Parameter or None expected")
            self._parameters[name] = None
        elif name in tables.get("_modules", ()):
            self._only_none(name, value, "child module", "torch.nn.Module or None expected")
            self._modules[name] = None
        elif name in tables.get("_buffers", ()):
            if not isinstance(value, Tensor):
                self._only_none(name, value, "buffer", "torch.nn.Buffer, torch.Tensor or None expected")
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def _has(self, name: str) -> bool:
        """Whether there is such an attribute, without the error that `hasattr` would have made if not."""
        if type(self).__getattr__ is not Module.__getattr__:
            return hasattr(self, name)
        tables = (self.__dict__, self._parameters, self._modules, self._buffers)
        return any(name in table for table in tables) or hasattr(type(self), name)

    def _only_none(self, name: str, value: object, what: str, expected: str) -> None:
        if value is not None:
            raise ArgumentError(
                mirrored(f"cannot assign '{typename(value)}' as {what} '{name}' ({expected})")
            )

    def _forget(self, name: str, keep: str) -> None:
        """What had the name before has it no more, unless it is in the table that will get it anew."""
        attributes = self.__dict__
        if "_modules" not in attributes:
            what = {"_parameters": "parameters", "_modules": "module", "_buffers": "buffer"}[keep]
            raise AttributeMissingError(mirrored(f"cannot assign {what} before Module.__init__() call"))
        attributes.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != keep:
                attributes[table].pop(name, None)
        if keep != "_buffers":
            self._not_saved.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._not_saved.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        registered = chain(self._parameters, self._modules, self._buffers)
        return sorted({*object.__dir__(self), *(name for name in registered if name.isidentifier())})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Have `param` as the attribute `name` and among `parameters()`; None keeps the name free."""
        self._check_name("parameter", name, self.__dict__.get("_parameters"))
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentError(
                mirrored(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            )
        if param is not None and param.grad_fn is not None:
            raise GradientError(
                mirrored(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in "
                    "the forward() method."
                )
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Have a Tensor that is not trained as the attribute `name`; if `persistent`, in the `state_dict`
        too.
        """
        self._check_name("buffer", name, self.__dict__.get("_buffers"))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentError(
                mirrored(
                    f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                    "(torch Tensor or None required)"
                )
            )
        self._buffers[name] = tensor
        (self._not_saved.discard if persistent else self._not_saved.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Have a Module as the attribute `name`."""
        if module is not None and not isinstance(module, Module):
            raise ArgumentError(mirrored(f"{typename(module)} is not a Module subclass"))
        self._check_name("module", name, self.__dict__.get("_modules"))
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, what: str, name: object, table: dict[str, Any] | None) -> None:
        if table is None:
            raise AttributeMissingError(mirrored(f"cannot assign {what} before Module.__init__() call"))
        if not isinstance(name, str):
            raise ArgumentError(mirrored(f"{what} name should be a string. Got {typename(name)}"))
        if "." in name:
            found = f", got: {name}" if what == "module" else ""
            raise NameTakenError(mirrored(f'{what} name can\'t contain "."{found}'))
        if name == "":
            raise NameTakenError(mirrored(f'{what} name can\'t be empty string ""'))
        if name not in table and self._has(name):
            raise NameTakenError(mirrored(f"attribute '{name}' already exists"))

    # ---- walks ---------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, by their dotted names; each once, unless `remove_duplicate=False`."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _joined(prefix, name), remove_duplicate)

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        seen: set[int] = set()
        for start, module in modules:
            for name, value in getattr(module, table).items():
                if value is not None and id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield _joined(start, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return self._named("_modules", "", False, True)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; "" is this one."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeMissingError(mirrored(f"{type(module).__name__} has no attribute `{name}`"))
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeMissingError(mirrored(f"`{name}` is not an nn.Module"))
        return module  # type: ignore[no-any-return]  # a Module, as just seen

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Have a module in the place of that of a dotted name; a new one, too, unless `strict`."""
        if target == "":
            raise ArgumentError(mirrored("Cannot set the submodule without a target name!"))
        if not isinstance(module, Module):
            raise ArgumentError(mirrored(f"`module` is not an nn.Module, found {type(module)}"))
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            parent.get_submodule(name)  # says what is wrong with what is there
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        return self._get(target, "_parameters", "an nn.Parameter")  # type: ignore[no-any-return]  # what the table holds

    def get_buffer(self, target: str) -> Tensor:
        return self._get(target, "_buffers", "a buffer")  # type: ignore[no-any-return]  # what the table holds

    def _get(self, target: str, table: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeMissingError(mirrored(f"{type(module).__name__} has no attribute `{name}`"))
        if name not in getattr(module, table):
            raise AttributeMissingError(mirrored(f"`{name}` is not {what}"))
        return getattr(module, table)[name]

    # ---- changes to all ------------------------------------------------------------------------------------

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn(module)` for all modules below and then this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Dropout and normalisation as in training, or not. Here and in all modules below."""
        if not isinstance(mode, bool):
            raise ArgumentError(mirrored("training mode is expected to be boolean"))
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or make them zero."""
        clear_gradients(self.parameters(), set_to_none)

    # ---- text ----------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """What stands in the parentheses when the module is printed."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        if len(lines) == 1 and not self._modules:
            return f"{self._get_name()}({extra})"
        lines += [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        inside = "\n  ".join(lines)
        return f"{self._get_name()}(\n  {inside}\n)" if lines else f"{self._get_name()}()"


def clear_gradients(parameters: Iterable[Tensor], set_to_none: bool) -> None:
    """Forget the gradients, or make them zero and cut them from their history."""
    tracing = STATE.trace is not None
    for parameter in parameters:
        gradient = parameter._grad
        if gradient is None:
            continue
        if not set_to_none:
            if gradient.grad_fn is not None:
                gradient.detach_()
            else:
                gradient.requires_grad_(False)
            gradient.zero_()
        elif tracing:
            parameter.grad = None
        else:
            parameter._grad = None


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
