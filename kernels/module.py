"""An activation as a torch module."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

from codegen.cost import Cost, cost
from codegen.numpy import print_numpy
from codegen.spelling import spellings
from codegen.text import declarations, to_latex, to_program
from codegen.torch import print_torch
from grammar import catalog, format_program
from kernels import ops
from kernels.native import native_ir
from kernels.programs import make_plan, program
from kernels.recent import MOST_KEPT

BACKENDS = ("auto", "llvm", "triton", "interpret", "eager")


class Activation(LazyModuleMixin, nn.Module):
    """y = f(x) by compiled kernels; x of any shape, float32, float64, bfloat16 or float16, y like x.

    The program's parameters are `nn.Parameter`s, float32 by default: a scalar one has shape (), one per channel has shape
    (channels,), which is known from the first input (until then it is uninitialised, as in torch's lazy modules). Its
    attribute has its name, with an underscore where the module has such an attribute already (`param training` is `training_`).
    For backward x and the parameters are kept and nothing else.
    """

    cls_to_become = None

    def __init__(self, text: str, *, channel_dim: int = -1, backend: str = "auto") -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
        self.text = text
        self.function = program(text)
        self.formula = format_program(self.function.function.program)
        self.channel_dim = channel_dim
        self.backend = backend
        self._eager = eager(text) if backend == "eager" else None  # here, for torch.compile cannot trace the translation
        self._attributes = tuple(spellings((p.name for p in self.function.parameters), [*dir(self), "_attributes"]).values())
        for attribute, parameter in zip(self._attributes, self.function.parameters, strict=True):
            value = UninitializedParameter() if parameter.per_channel else nn.Parameter(torch.tensor(parameter.initial))
            self.register_parameter(attribute, cast(nn.Parameter, value))

    def initialize_parameters(self, x: torch.Tensor) -> None:
        """Give parameters per channel their size, from the first input."""
        channels = x.shape[self.channel_dim] if x.dim() else 1
        with torch.no_grad():
            for attribute, parameter in zip(self._attributes, self.function.parameters, strict=True):
                value = getattr(self, attribute)
                if isinstance(value, UninitializedParameter):
                    value.materialize((channels,))
                    value.fill_(parameter.initial)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parameters = [getattr(self, attribute) for attribute in self._attributes]
        if self._eager is not None:
            return self._eager(x, *parameters, channel_dim=self.channel_dim)
        if not x.is_floating_point():
            raise TypeError(f"an activation takes float32, float64, bfloat16 or float16, not {x.dtype}")
        return ops.evaluate([x, *parameters], self.text, 0, self.channel_dim, self.backend)[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> Activation:
        formula, channel_dim, backend, training, parameters = self.__reduce__()[1]
        return _restore(formula, channel_dim, backend, training, copy.deepcopy(parameters, memo))

    def __reduce__(self) -> tuple[Callable[..., Activation], tuple[Any, ...]]:
        parameters = {name: value for name, value in self._parameters.items() if not isinstance(value, UninitializedParameter)}
        return _restore, (self.formula, self.channel_dim, self.backend, self.training, parameters)

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


def source(function: Any, backend: str, *, order: int = 0) -> str:
    """The source that a backend runs for a function (`codegen.function.Activation`). Raises ValueError for an unknown backend."""
    names = [p.name for p in function.parameters]
    if backend == "torch":
        return print_torch(function.graph, names)
    if backend == "numpy":
        return print_numpy(function.graph, names)
    if backend == "latex":
        return to_latex(function.graph)
    kernels = [stage.kernel for stage in make_plan(function, order, "f32").stages] if backend in ("llvm", "triton") else []
    if backend == "llvm":
        return "\n".join(native_ir(kernel) for kernel in kernels)
    if backend == "triton":
        from codegen.triton import print_kernel  # noqa: PLC0415

        return "\n\n".join(print_kernel(kernel) for kernel in kernels)
    raise ValueError(f"there is no source for {backend!r}; choose llvm, triton, torch, numpy or latex")


@functools.lru_cache(maxsize=MOST_KEPT)
def eager(text: str) -> Callable[..., torch.Tensor]:
    """The torch lowering of a program, as a function of x, the parameters in order, and `channel_dim`."""
    function = program(text)
    namespace: dict[str, Any] = {}
    exec(compile(print_torch(function.graph, [p.name for p in function.parameters]), "<activation>", "exec"), namespace)
    return cast(Callable[..., torch.Tensor], namespace["activation"])


def _restore(formula: str, channel_dim: int, backend: str, training: bool, parameters: dict[str, nn.Parameter]) -> Activation:
    module = Activation(formula, channel_dim=channel_dim, backend=backend)
    for name, value in parameters.items():
        module.register_parameter(name, value)
    return module.train(training)


def activation(text_or_name_or_path: str | Path, *, channel_dim: int = -1, backend: str = "auto") -> Activation:
    """An activation module from a program text, a name of the catalogue (`gp list`), or the path of an `.act` file.

    `channel_dim`: the axis that `param name[channel]`, `shift` and `over=` go by. `backend`: "auto" (LLVM on the CPU, Triton on
    a GPU), "llvm", "triton", "interpret" (the Triton kernel in Triton's interpreter, on CPU tensors) or "eager" (plain torch
    operations, on any device). Raises DSLError (a ValueError) for a mistake in the text, ValueError for an unknown backend.
    """
    return Activation(catalog.load_text(text_or_name_or_path), channel_dim=channel_dim, backend=backend)
