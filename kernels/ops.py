"""The torch op: one op for every program, order and backend, with autograd, fake tensors and vmap.

`actgp::evaluate(inputs, program, order, channel_dim, backend)` computes the derivative of that order of a program text (0: the
activation itself) at `inputs`, and its own gradient is the next order. So double backward, and any higher one, runs compiled
kernels too. Only the inputs are kept for backward: everything else is computed again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.library import Library, register_autograd, register_fake, register_vmap

from codegen.function import Signature, signature
from codegen.instructions import Span
from codegen.kernel import Storage
from kernels.compiled import Backend, CompiledFunction, compiled
from kernels.dtypes import STORAGES
from kernels.programs import program
from kernels.recent import MOST_KEPT

_AUTOMATIC: Final[dict[str, Backend]] = {"cpu": "llvm", "cuda": "triton"}
_WORKS: Final[dict[str, tuple[Backend, ...]]] = {"cpu": ("llvm", "interpret"), "cuda": ("triton",)}
_OWN_TYPES: Final = (torch.Tensor, torch.nn.Parameter)

_library = Library("actgp", "DEF")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "evaluate(Tensor[] inputs, str program, int order, int channel_dim, str backend) -> Tensor[]"
)


def resolve_backend(x: torch.Tensor, backend: str) -> Backend:
    """The backend for a tensor; `auto` takes LLVM on the CPU and Triton on a GPU. Raises ValueError where it cannot run."""
    kind = x.device.type
    chosen = _AUTOMATIC.get(kind, "") if backend == "auto" else backend
    works = _WORKS.get(kind, ())
    if chosen not in works:
        usable = ", ".join(repr(w) for w in ("auto" if works else "", *works, "eager") if w)
        raise ValueError(f"backend {backend!r} cannot run on a tensor on {x.device}; use backend={usable}")
    return chosen


@functools.lru_cache(maxsize=MOST_KEPT)
def _prepared(text: str, order: int, storage: Storage, backend: Backend) -> tuple[CompiledFunction, Signature, tuple[float, ...]]:
    """What a launch needs to know of a program: the compiled function, its inputs and results, and the constants."""
    function = program(text)
    return compiled(function, order, storage, backend), signature(function.parameters, order), function.constants


def _evaluate(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str) -> list[torch.Tensor]:
    x = inputs[0]
    storage = STORAGES.get(x.dtype)
    if storage is None:
        raise TypeError(f"an activation takes float32, float64, bfloat16 or float16, not {x.dtype}")
    kernel, described, constants = _prepared(text, order, storage, resolve_backend(x, backend))
    plain = x.is_contiguous() and (kernel.flat or channel_dim in (-1, x.dim() - 1))
    dims = list(range(x.dim())) if plain else _dense_order(x) if kernel.flat else _channel_last(x, channel_dim)
    channels = x.numel() if kernel.flat else (x.shape[dims[-1]] if dims else 1)
    rows = 1 if kernel.flat else x.numel() // max(channels, 1)
    known: dict[str, torch.Tensor | float] = {}
    for (name, span), tensor in zip(described.inputs, inputs, strict=True):
        if span is Span.ELEMENT:
            if plain and tensor.dtype == x.dtype and tensor.is_contiguous():
                known[name] = tensor
            else:
                known[name] = tensor.detach().to(x.dtype).permute(dims).contiguous()
        elif span is Span.SCALAR:
            known[name] = tensor.detach()
        else:
            there = x.shape[_channel_last(x, channel_dim)[-1]] if x.dim() else 1
            if tensor.numel() != there:
                raise ValueError(f"'{name}' has {tensor.numel()} values, but x has {there} channels along dimension {channel_dim}")
            known[name] = tensor.detach().to(kernel.compute).contiguous()
    results = kernel.run(known, constants, rows, channels)
    return [_arrange(value, like, None if plain else dims) for value, like in zip(results, inputs, strict=False)]


def _dense_order(x: torch.Tensor) -> list[int]:
    """The dimensions from the slowest to the fastest in memory, if x then fills its memory without gaps; else as they are."""
    strides = x.stride()
    dims = sorted(range(x.dim()), key=lambda d: -strides[d])
    return dims if x.permute(dims).is_contiguous() else list(range(x.dim()))


def _channel_last(x: torch.Tensor, channel_dim: int) -> list[int]:
    """The dimensions with the channels last. Raises IndexError when there is no such dimension."""
    if x.dim() == 0:
        return []
    if not -x.dim() <= channel_dim < x.dim():
        raise IndexError(f"channel_dim={channel_dim}, but x has {x.dim()} dimensions")
    channel = channel_dim % x.dim()
    return [*(d for d in range(x.dim()) if d != channel), channel]


def _arrange(value: torch.Tensor, like: torch.Tensor, dims: Sequence[int] | None) -> torch.Tensor:
    """A kernel's result with the shape, strides and dtype of `torch.empty_like(like)`, which is what the fake op promises.

    `dims`: the order of the dimensions in which the kernel saw x; None is their own.
    """
    if dims is not None and value.dim() and like.dim() == len(dims):
        inverse = sorted(range(len(dims)), key=dims.__getitem__)
        value = value.reshape([like.shape[d] for d in dims]).permute(inverse)
    if value.dtype == like.dtype and value.shape == like.shape and value.is_contiguous() and like.is_contiguous():
        return value
    result = torch.empty_like(like)
    if value.dtype == result.dtype and value.stride() == result.stride():
        return value
    return result.copy_(value.reshape(like.shape))


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
        return tuple(_evaluate(inputs, text, order, channel_dim, backend))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[Any, ...]:
        return (None, None, None, None, *_backward(ctx, gradients)[0])


class _Transformed(torch.autograd.Function):
    """The op under torch.func transforms, which the autograd formula of a library op does not support."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[torch.Tensor, ...]:
        *settings, inputs = arguments[0], arguments[1], arguments[2], arguments[3], arguments[4:]
        return tuple(torch.ops.actgp.evaluate(list(inputs), *settings))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.settings = inputs[:4]
        ctx.save_for_backward(*inputs[4:])

    backward = _Plain.backward

    @staticmethod
    def vmap(info: Any, in_dims: Any, text: str, order: int, channel_dim: int, backend: str, *inputs: torch.Tensor) -> tuple[Any, Any]:
        results, dims = _vmap(info, [in_dims[4:]], inputs, text, order, channel_dim, backend)
        return tuple(results), tuple(dims)


def evaluate(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str) -> list[torch.Tensor]:
    """`torch.ops.actgp.evaluate`, by the shortest way: the op itself is for torch.compile, and for tensors that stand for others."""
    if not torch.compiler.is_compiling():
        if torch._C._are_functorch_transforms_active():
            return list(_Transformed.apply(text, order, channel_dim, backend, *inputs))  # type: ignore[no-untyped-call]
        if torch._C._len_torch_dispatch_stack() == 0 and all(type(t) in _OWN_TYPES for t in inputs):
            if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
                return list(_Plain.apply(text, order, channel_dim, backend, *inputs))  # type: ignore[no-untyped-call]
            return _evaluate(inputs, text, order, channel_dim, backend)
    results: list[torch.Tensor] = torch.ops.actgp.evaluate(list(inputs), text, order, channel_dim, backend)
    return results


_library.impl("evaluate", _evaluate, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
register_fake("actgp::evaluate", _fake, lib=_library)
register_autograd("actgp::evaluate", _backward, setup_context=_setup_context, lib=_library)
register_vmap("actgp::evaluate", _vmap, lib=_library)
