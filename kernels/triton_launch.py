"""Running a kernel on the GPU (or, interpreted, on CPU tensors)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import torch
from triton import cdiv
from triton.runtime import driver

from codegen.instructions import Span
from codegen.kernel import COMPUTE, Kernel
from codegen.triton import function_name, print_kernel, sums_over_rows
from kernels.dtypes import DTYPES
from kernels.triton_compiler import LONG_BODY, MASK_BOUND_BODY, Tile, choose_tile, compile_options, load_function
from kernels.triton_interpreter import gpu_rounding, interpreted
from kernels.tuning import ANY, NARROW, VECTOR, WORTHWHILE, Choice, device_name, kernel_class, timer, tuned

# Where there are sums per channel, a program takes several tiles of rows once this many programs are left (8 for each of 128
# multiprocessors), and at most _MAX_TILES of them: fewer partial results to write and add up.
PROGRAMS: Final = 1024
_MAX_TILES: Final = 64
# Triton vectorises a masked access only where it knows 16 to divide the size.
_DIVISOR: Final = 16


class GpuKernel:
    """A kernel for the GPU of the tensors that it is given; Triton compiles it on the first call for each pattern of alignments.

    `interpret` runs it in Triton's interpreter instead, on CPU tensors: for tests, about a millisecond for 1024 elements.
    """

    def __init__(self, kernel: Kernel, *, interpret: bool = False) -> None:
        self.kernel = kernel
        self.interpret = interpret
        self.source = print_kernel(kernel)
        name = function_name(kernel)
        self._function: Any = interpreted(self.source, name) if interpret else load_function(kernel, self.source)
        self._length = len(kernel.live())
        self._kind = kernel_class("flat" if kernel.flat else "structured", kernel.storage, self._length)
        self._compute = DTYPES["f64" if COMPUTE[kernel.storage] == "f64" else "f32"]

    def __call__(self, inputs: Sequence[torch.Tensor | float], rows: int, channels: int) -> list[torch.Tensor]:
        """Run on a tensor of rows x channels.

        `inputs` are aligned with `kernel.inputs`. ELEMENT: contiguous, of the storage dtype, rows*channels elements, not shifted
        (the kernel does that). ROW, CHANNEL: one-dimensional, in the compute dtype. SCALAR: a number or a tensor of shape ().
        Gives tensors aligned with `kernel.outputs`: for ELEMENT in the shape of the first ELEMENT input, and the sums in
        float64 with shape (), (channels,) or (rows,). Raises ValueError for an input of another dtype, size, layout or device.
        """
        like = self._check(inputs, rows, channels)
        tensors = [t for t, i in zip(inputs, self.kernel.inputs, strict=True) if isinstance(t, torch.Tensor) and i.span is not Span.SCALAR]
        scalars = [t for t, i in zip(inputs, self.kernel.inputs, strict=True) if i.span is Span.SCALAR]
        with torch.no_grad(), gpu_rounding() if self.interpret else torch.cuda.device(like.device):
            packed = [_pack(scalars, self._compute, like.device)] if scalars else []

            def run(tile: Tile) -> list[torch.Tensor]:
                if self.kernel.flat:
                    return self._run_flat(tensors, packed, like, tile)
                return self._run_structured(tensors, packed, like, (rows, channels), tile)

            results = run(self._tile(like, channels, run))
            return [r if o.span is Span.ELEMENT else r.sum(0) for r, o in zip(results, self.kernel.outputs, strict=True)]

    def _tile(self, like: torch.Tensor, channels: int, run: Callable[[Tile], object]) -> Tile:
        """The tile that was found to be the fastest for such kernels, or the static one; see `kernels.tuning`."""
        if self.interpret:
            return choose_tile(self.kernel, 32, channels)
        warp_size = int(driver.active.get_current_target().warp_size)
        if not self._tunable(warp_size):
            return choose_tile(self.kernel, warp_size, channels)

        def tile(choice: Choice) -> Tile:
            block = choice.num_warps * warp_size * choice.vectors * VECTOR // like.element_size()
            return choose_tile(self.kernel, warp_size, channels, choice.num_warps, block)

        choices = ANY if self._length <= LONG_BODY and like.element_size() >= 4 else NARROW
        seconds = timer(lambda choice: run(tile(choice))) if like.numel() >= WORTHWHILE else None
        choice = tuned(device_name(like.device.index), self._kind, choices, seconds)
        return choose_tile(self.kernel, warp_size, channels) if choice is None else tile(choice)

    def _tunable(self, warp_size: int) -> bool:
        """Whether a clock may decide: not where sums are made, nor where one element a thread is all that fits."""
        return all(o.span is Span.ELEMENT for o in self.kernel.outputs) and not (warp_size == 64 and self._length > MASK_BOUND_BODY)

    def _run_flat(self, tensors: list[torch.Tensor], packed: list[torch.Tensor], like: torch.Tensor, tile: Tile) -> list[torch.Tensor]:
        """Two launches when 16 does not divide the size: all but the last elements, in 128-bit accesses, then those."""
        size = like.numel()
        body = size - size % _DIVISOR
        pieces = [(start, stop, cdiv(stop - start, tile.channels)) for start, stop in ((0, body), (body, size)) if start < stop]
        results = self._allocate(like, {Span.SCALAR: (sum(programs for _, _, programs in pieces),)})
        slot = 0
        for start, stop, programs in pieces:
            outputs = [
                r.view(-1)[start:stop] if o.span is Span.ELEMENT else r[slot : slot + programs]
                for r, o in zip(results, self.kernel.outputs, strict=True)
            ]
            self._launch(programs, [*(t.view(-1)[start:stop] for t in tensors), *packed, *outputs, stop - start], tile)
            slot += programs
        return results

    def _run_structured(
        self, tensors: list[torch.Tensor], packed: list[torch.Tensor], like: torch.Tensor, shape: tuple[int, int], tile: Tile
    ) -> list[torch.Tensor]:
        rows, channels = shape
        row_tiles, channel_blocks = cdiv(rows, tile.rows), cdiv(channels, tile.channels)
        sizes, row_blocks = [rows, channels], row_tiles
        if sums_over_rows(self.kernel):
            tiles = max(1, min(_MAX_TILES, row_tiles * channel_blocks // PROGRAMS))
            sizes, row_blocks = [rows, channels, tiles], cdiv(row_tiles, tiles)
        programs = row_blocks * channel_blocks
        slots = {Span.SCALAR: (programs,), Span.CHANNEL: (row_blocks, channels), Span.ROW: (channel_blocks, rows)}
        results = self._allocate(like, slots)
        if programs:
            self._launch(programs, [*tensors, *packed, *results, *sizes], tile)
        return results

    def _allocate(self, like: torch.Tensor, slots: dict[Span, tuple[int, ...]]) -> list[torch.Tensor]:
        """An empty tensor for each output: like the input, or float64 partial sums."""
        return [
            torch.empty_like(like)
            if output.span is Span.ELEMENT
            else torch.empty(slots[output.span], dtype=torch.float64, device=like.device)
            for output in self.kernel.outputs
        ]

    def _launch(self, programs: int, arguments: list[torch.Tensor | int], tile: Tile) -> None:
        constants = tile.constants(self.kernel)
        if self.interpret:
            self._function[(programs,)](*arguments, **constants)
        else:
            options = compile_options(driver.active.get_current_target())
            self._function[(programs,)](*arguments, **constants, num_warps=tile.num_warps, **options)

    def _check(self, inputs: Sequence[torch.Tensor | float], rows: int, channels: int) -> torch.Tensor:
        """The first ELEMENT input, once all inputs are known to fit."""
        if len(inputs) != len(self.kernel.inputs):
            raise ValueError(f"the kernel {self.kernel.name} takes {len(self.kernel.inputs)} inputs, not {len(inputs)}")
        sizes = {Span.ELEMENT: rows * channels, Span.ROW: rows, Span.CHANNEL: channels}
        first: torch.Tensor | None = None
        for value, item in zip(inputs, self.kernel.inputs, strict=True):
            if item.span is Span.SCALAR:
                continue
            dtype = DTYPES[self.kernel.storage] if item.span is Span.ELEMENT else self._compute
            if not isinstance(value, torch.Tensor) or value.dtype != dtype or value.numel() != sizes[item.span]:
                got = f"{value.dtype} x {value.numel()}" if isinstance(value, torch.Tensor) else repr(value)
                raise ValueError(f"input {item.name} must be a tensor of {dtype} x {sizes[item.span]}, not {got}")
            if not value.is_contiguous() or (value.device.type == "cpu") != self.interpret:
                raise ValueError(f"input {item.name} must be contiguous and on the {'CPU' if self.interpret else 'GPU'}")
            if first is None and item.span is Span.ELEMENT:
                first = value
        if first is None:
            raise ValueError(f"the kernel {self.kernel.name} has no ELEMENT input, so the shape of its result is unknown")
        return first


def _pack(values: Sequence[torch.Tensor | float], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The scalar inputs as one array. Numbers alone are sent to the device once, not on every call."""
    if not any(isinstance(value, torch.Tensor) for value in values):
        return _numbers(struct.pack(f"{len(values)}d", *values), dtype, device)
    return torch.stack([torch.as_tensor(value, dtype=dtype, device=device) for value in values])


@lru_cache(maxsize=256)
def _numbers(packed: bytes, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # By their bytes, for 0.0 and -0.0 are one key.
    return torch.frombuffer(bytearray(packed), dtype=torch.float64).to(device, dtype)
