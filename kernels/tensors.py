"""A function of some order on torch tensors: which backend runs it, in which layout, and what is refused."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import torch

from codegen.function import Signature, signature
from codegen.instructions import Span
from codegen.kernel import Storage
from kernels.compiled import Backend, CompiledFunction, compiled
from kernels.dtypes import STORAGES
from kernels.lowering import lowered
from kernels.programs import program
from kernels.recent import MOST_KEPT

_AUTOMATIC: Final[dict[str, Backend]] = {"cpu": "llvm", "cuda": "triton"}
_WORKS: Final[dict[str, tuple[Backend, ...]]] = {"cpu": ("llvm", "interpret"), "cuda": ("triton",)}


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


def run(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int, backend: str) -> list[torch.Tensor]:
    """The derivative of that order, computed. Raises TypeError or ValueError for tensors that it cannot be computed of."""
    if is_lowered(inputs, backend):
        return run_lowered(inputs, text, order, channel_dim)
    _check_sizes(inputs, text, order, channel_dim)
    inputs = [t.clone() if t._is_zerotensor() else t.resolve_neg() for t in inputs]  # what is in memory is to be what they are
    x = inputs[0]
    storage = STORAGES[x.dtype]
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
            known[name] = tensor.detach().reshape(-1).to(kernel.compute).contiguous()
    results = kernel.run(known, constants, rows, channels)
    return [_arrange(value, like, None if plain else dims) for value, like in zip(results, inputs, strict=False)]


def is_lowered(inputs: Sequence[torch.Tensor], backend: str) -> bool:
    """Whether torch operations compute it: where that is asked for, or tensors of `is_grads_batched` or `vectorize=True` have no memory."""
    return backend == "eager" or any(map(torch._C._functorch.is_legacy_batchedtensor, inputs))


def run_lowered(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int) -> list[torch.Tensor]:
    """The same by plain torch operations, on any device."""
    _check_sizes(inputs, text, order, channel_dim)
    results = lowered(text, order)(*inputs, channel_dim=channel_dim)
    return list(results) if isinstance(results, tuple) else [results]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _numbers(text: str, order: int) -> tuple[tuple[int, str, bool], ...]:
    """The inputs of that order that are not of x's shape: place, name, and whether they have one value per channel or one alone."""
    return _known_numbers(text, order)


@functools.lru_cache(maxsize=MOST_KEPT)
def _known_numbers(text: str, order: int) -> tuple[tuple[int, str, bool], ...]:
    inputs = signature(program(text).parameters, order).inputs
    return tuple((k, name, span is Span.CHANNEL) for k, (name, span) in enumerate(inputs) if span is not Span.ELEMENT)


def require_dense(x: torch.Tensor) -> None:
    """Raises TypeError for what is no tensor, or none that an activation can be computed of."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"an activation takes a tensor, not {x!r}; torch.as_tensor makes one of numbers")
    if x.layout is not torch.strided or x.is_nested:
        kind = "nested" if x.is_nested else x.layout
        raise TypeError(f"an activation takes dense tensors, not {kind}; apply it to the values, or to x.to_dense()")
    if x.dtype not in STORAGES:
        raise TypeError(f"an activation takes float32, float64, bfloat16 or float16, not {x.dtype}")


def channels_of(x: torch.Tensor, channel_dim: int) -> int:
    """How many channels x has; a number alone is one. Raises ValueError where it has no such dimension."""
    dims = x.dim()
    if dims and not -dims <= channel_dim < dims:
        raise ValueError(f"channel_dim={channel_dim}, but x has {dims} dimensions: choose from {-dims} to {dims - 1}")
    return x.shape[channel_dim] if dims else 1


def _check_sizes(inputs: Sequence[torch.Tensor], text: str, order: int, channel_dim: int) -> None:
    channels = channels_of(inputs[0], channel_dim)
    for k, name, per_channel in _numbers(text, order):
        count = inputs[k].numel()
        if count != (channels if per_channel else 1):
            there = f"x has {channels} channels along dimension {channel_dim}" if per_channel else "is one number for all channels"
            raise ValueError(f"'{name}' has {count} values, but {there}")


def _dense_order(x: torch.Tensor) -> list[int]:
    """The dimensions from the slowest to the fastest in memory, if x then fills its memory without gaps; else as they are."""
    strides = x.stride()
    dims = sorted(range(x.dim()), key=lambda d: -strides[d])
    return dims if x.permute(dims).is_contiguous() else list(range(x.dim()))


def _channel_last(x: torch.Tensor, channel_dim: int) -> list[int]:
    """The dimensions with the channels last."""
    if x.dim() == 0:
        return []
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
