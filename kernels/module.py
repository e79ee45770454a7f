"""An activation as a torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

from codegen.cost import Cost, cost
from codegen.function import Activation as Function
from codegen.numpy import print_numpy
from codegen.spelling import spellings
from codegen.text import declarations, to_latex, to_program
from codegen.torch import print_lowering
from grammar import catalog, format_program
from kernels import ops
from kernels.native import native_ir
from kernels.programs import make_plan, program
from kernels.tensors import channels_of, require_dense

BACKENDS = ("auto", "llvm", "triton", "interpret", "eager")


class Activation(LazyModuleMixin, nn.Module):
    """y = f(x) by compiled kernels; x of any shape, float32, float64, bfloat16 or float16, y like x.

    The program's parameters are `nn.Parameter`s, float32 by default: a scalar one has shape (), one per channel has shape
    (channels,), which is known from the first input (until then it is uninitialised, as in torch's lazy modules). Its
    attribute has its name, with an underscore where the module has such an attribute already (`param training` is `training_`).
    For backward x and the parameters are kept and nothing else. `backend` may be set at any time.
    """

    cls_to_become = None

    def __init__(self, text: str, *, channel_dim: int = -1, backend: str = "auto") -> None:
        super().__init__()
        if not isinstance(channel_dim, int):
            raise TypeError(f"channel_dim is the number of a dimension, such as 1 or -1, not {channel_dim!r}")
        self.text = text
        self.formula = format_program(self.function.function.program)
        self.channel_dim = channel_dim
        self.backend = backend
        self._attributes = tuple(spellings((p.name for p in self.function.parameters), [*dir(self), "_attributes"]).values())
        for attribute, parameter in zip(self._attributes, self.function.parameters, strict=True):
            value = UninitializedParameter() if parameter.per_channel else nn.Parameter(torch.tensor(parameter.initial))
            self.register_parameter(attribute, cast(nn.Parameter, value))
        if not any(p.per_channel for p in self.function.parameters):  # nothing is left to the first input
            self._initialize_hook.remove()
            self._load_hook.remove()
            del self._initialize_hook, self._load_hook

    def initialize_parameters(self, x: torch.Tensor) -> None:
        """Give parameters per channel their size, from the first input."""
        require_dense(x)
        channels = channels_of(x, self.channel_dim)
        with torch.no_grad():
            for attribute, parameter in zip(self._attributes, self.function.parameters, strict=True):
                value = getattr(self, attribute)
                if isinstance(value, UninitializedParameter):
                    value.materialize((channels,))
                    value.fill_(parameter.initial)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(x, torch.fx.Proxy):  # a leaf of what torch.fx traces, as the modules of torch.nn are
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})
        require_dense(x)
        parameters = [getattr(self, attribute) for attribute in self._attributes]
        return ops.evaluate([x, *parameters], self.text, 0, self.channel_dim, self._backend)[0]

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep. A tensor that was computed, as a pruned parameter is before each call, has no history there."""
        computed = {name: t for name, t in self.__dict__.items() if isinstance(t, torch.Tensor) and not t.is_leaf}
        return {**self.__dict__, **{name: t.detach() for name, t in computed.items()}}

    def __prepare_scriptable__(self) -> Activation:
        raise TypeError("torch.jit.script cannot read an activation; torch.jit.trace, torch.export and torch.compile can")

    @property
    def function(self) -> Function:
        """The program, as a graph."""
        return program(self.text)

    @property
    def backend(self) -> str:
        """What computes it, as `activation` has it. Raises ValueError when set to what is none of these."""
        return self._backend

    @backend.setter
    def backend(self, backend: str) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
        self._backend = backend

    @property
    def derivative(self) -> str:
        """The derivative with respect to x, as a program text; statistics, shifts and parameters count as constants."""
        return format_program(to_program(self.function.slope, declarations(self.function.parameters)))

    @property
    def cost(self) -> tuple[Cost, Cost]:
        """Operations per element of the value, and of the derivative."""
        return cost([self.function.graph]), cost([self.function.slope])

    def latex(self) -> str:
        """The formula in LaTeX."""
        return to_latex(self.function.graph)

    def source(self, backend: Literal["llvm", "triton", "torch", "numpy", "latex"], *, order: int = 0) -> str:
        """The generated source: of the forward kernels (order 0) or the backward ones (order 1)."""
        return source(self.function, backend, order=order)

    def extra_repr(self) -> str:
        return "; ".join(self.formula.splitlines())


def source(function: Function, backend: str, *, order: int = 0) -> str:
    """The source that a backend runs for a function. Raises ValueError for an unknown backend."""
    if backend == "torch":
        return print_lowering(function, order)
    if backend == "numpy":
        return print_numpy(function.graph, [p.name for p in function.parameters])
    if backend == "latex":
        return to_latex(function.graph)
    kernels = [stage.kernel for stage in make_plan(function, order, "f32").stages] if backend in ("llvm", "triton") else []
    if backend == "llvm":
        return "\n".join(native_ir(kernel) for kernel in kernels)
    if backend == "triton":
        from codegen.triton import print_kernel  # noqa: PLC0415

        return "\n\n".join(print_kernel(kernel) for kernel in kernels)
    raise ValueError(f"there is no source for {backend!r}; choose llvm, triton, torch, numpy or latex")


def activation(text_or_name_or_path: str | Path, *, channel_dim: int = -1, backend: str = "auto") -> Activation:
    """An activation module from a program text, a name of the catalogue (`gp list`), or the path of an `.act` file.

    `channel_dim`: the axis that `param name[channel]`, `shift` and `over=` go by. `backend`: "auto" (LLVM on the CPU, Triton on
    a GPU), "llvm", "triton", "interpret" (the Triton kernel in Triton's interpreter, on CPU tensors) or "eager" (plain torch
    operations, on any device). Raises DSLError (a ValueError) for a mistake in the text, ValueError for an unknown backend, TypeError for
    what is no text or no number of a dimension. The module raises TypeError for what is no dense tensor of a type that it computes in,
    ValueError where `channel_dim` or the number of channels does not fit.
    """
    return Activation(catalog.load_text(text_or_name_or_path), channel_dim=channel_dim, backend=backend)
