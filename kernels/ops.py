"""The torch op: one op for every program, order and backend, with autograd, fake tensors and vmap.

`actgp::evaluate(inputs, program, order, channel_dim, backend)` computes the derivative of that order of a program text (0: the
activation itself) at `inputs`, and its own gradient is the next order. So double backward, and any higher one, runs compiled
kernels too. Only the inputs are kept for backward: everything else is computed again.

The tangent of forward mode is the gradient of the gradient: that of order 1 is linear in its cotangent, so its gradient with respect to the
cotangent, by order 2, is the derivative times what stands for the next cotangent.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.autograd import forward_ad
from torch.jit._trace import TracerWarning
from torch.library import Library, register_autograd, register_fake, register_vmap

from codegen.function import signature
from kernels.programs import program
from kernels.tensors import is_lowered, run, run_lowered

_OWN_TYPES: Final = (torch.Tensor, torch.nn.Parameter)

_library = Library("actgp", "DEF")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "evaluate(Tensor[] inputs, str program, int order, int channel_dim, str backend) -> Tensor[]"
)


def _fake(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str) -> list[torch.Tensor]:
    results = len(signature(program(text).parameters, order).results)
    return [torch.empty_like(like) for like in inputs[:results]]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors, *ctx.settings = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, gradients: Sequence[torch.Tensor | None]) -> tuple[Any, ...]:
    text, order, channel_dim, backend = ctx.settings
    inputs = ctx.saved_tensors
    cotangents = [torch.zeros_like(like) if g is None else g for g, like in zip(gradients, inputs, strict=False)]
    results = evaluate([*inputs, *cotangents], text, order + 1, channel_dim, backend)
    return list(results), None, None, None, None


def _vmap(
    info: Any, in_dims: Any, inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str
) -> tuple[Any, Any]:
    """A function of x alone sees a batch as one larger tensor; any other is evaluated sample by sample."""
    dims = in_dims[0]
    if program(text).of_x_alone:
        batched = [t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0) for t, d in zip(inputs, dims, strict=True)]
        results = evaluate(batched, text, order, channel_dim, backend)
    else:
        samples = [
            evaluate([t if d is None else t.select(d, k) for t, d in zip(inputs, dims, strict=True)], text, order, channel_dim, backend)
            for k in range(info.batch_size)
        ]
        results = [torch.stack(parts) for parts in zip(*samples, strict=True)]
    return results, [0] * len(results)


class _Plain(torch.autograd.Function):
    """The op in eager mode: the dispatcher and the autograd wrapper of a library op would take 50 us more a call."""

    @staticmethod
    def forward(ctx: Any, text: str, order: int, channel_dim: int, backend: str, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.settings = (text, order, channel_dim, backend)
        ctx.save_for_backward(*inputs)
        return tuple(run(inputs, text, order, channel_dim, backend))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[Any, ...]:
        return (None, None, None, None, *_backward(ctx, gradients)[0])


class _Transformed(torch.autograd.Function):
    """The op under torch.func transforms and in forward mode, which the autograd formula of a library op does not support."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[torch.Tensor, ...]:
        *settings, inputs = arguments[0], arguments[1], arguments[2], arguments[3], arguments[4:]
        return tuple(_dispatched(inputs, *settings))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.settings = inputs[:4]
        ctx.save_for_backward(*inputs[4:])
        ctx.save_for_forward(*inputs[4:])

    backward = _Plain.backward

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[torch.Tensor, ...]:
        text, order, channel_dim, backend = ctx.settings
        inputs = ctx.saved_tensors
        seeds = [torch.zeros_like(like) if t is None else t for t, like in zip(tangents[4:], inputs, strict=True)]
        if order == 0 and program(text).of_x_alone:
            return tuple(evaluate([*inputs, *seeds], text, 1, channel_dim, backend))
        count = len(signature(program(text).parameters, order).results)
        cotangents = [torch.zeros_like(like) for like in inputs[:count]]
        results = evaluate([*inputs, *cotangents, *seeds], text, order + 2, channel_dim, backend)
        return tuple(results[len(inputs) : len(inputs) + count])

    @staticmethod
    def vmap(info: Any, in_dims: Any, text: str, order: int, channel_dim: int, backend: str, *inputs: torch.Tensor) -> tuple[Any, Any]:
        results, dims = _vmap(info, [in_dims[4:]], inputs, text, order, channel_dim, backend)
        return tuple(results), tuple(dims)


def _dispatched(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str) -> list[torch.Tensor]:
    """By the op itself, which is for torch.compile and for tensors that stand for others; the torch lowering is not hidden in it."""
    if not torch.compiler.is_compiling() and is_lowered(inputs, backend):
        return run_lowered(inputs, text, order, channel_dim)
    results: list[torch.Tensor] = torch.ops.actgp.evaluate(list(inputs), text, order, channel_dim, backend)
    return results


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_transformed() -> bool:
    """Whether torch.func or forward mode is at work. torch.compile, which compiles again when that changes, cannot ask in other words."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def evaluate(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str) -> list[torch.Tensor]:
    """`torch.ops.actgp.evaluate`, by the shortest way.

    What is exported or traced is made of torch operations, whose gradients are torch's, and so is what torch.compile makes of transforms,
    for which it takes no formula of ours.
    """
    compiling = torch.compiler.is_compiling()
    if torch.compiler.is_exporting() or (compiling and _is_transformed()):
        return run_lowered(inputs, text, order, channel_dim)
    if not compiling and torch._C._is_tracing():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)  # at the comparison of sizes, which is not to be in the trace
            return run_lowered(inputs, text, order, channel_dim)
    if not compiling and _is_transformed():
        return list(_Transformed.apply(text, order, channel_dim, backend, *inputs))  # type: ignore[no-untyped-call]
    own = backend == "eager" or (not compiling and torch._C._len_torch_dispatch_stack() == 0 and all(type(t) in _OWN_TYPES for t in inputs))
    if not own:
        return _dispatched(inputs, text, order, channel_dim, backend)
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
        return list(_Plain.apply(text, order, channel_dim, backend, *inputs))  # type: ignore[no-untyped-call]
    return run(inputs, text, order, channel_dim, backend)


_library.impl("evaluate", run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
register_fake("actgp::evaluate", _fake, lib=_library)
register_autograd("actgp::evaluate", _backward, setup_context=_setup_context, lib=_library)
register_vmap("actgp::evaluate", _vmap, lib=_library)
