"""Running a kernel on the GPU (or, interpreted, on CPU tensors)."""

from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from triton import cdiv
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from codegen.instructions import Span
from codegen.kernel import COMPUTE, Kernel
from codegen.triton import function_name, print_kernel, sums_over_rows
from kernels.ahead import Job, kernel_job
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
_MOST_SENT: Final = 256  # arrays of numbers that are remembered


class GpuKernel:
    """A kernel for the GPU of the tensors that it is given; Triton compiles it on the first call for each pattern of alignments.

    `interpret` runs it in Triton's interpreter instead, on CPU tensors: for tests, about a millisecond for 1024 elements. `tile`: if it is
    not to choose one itself.
    """

    def __init__(self, kernel: Kernel, *, interpret: bool = False, tile: Tile | None = None) -> None:
        self.kernel = kernel
        self.interpret = interpret
        self._given = tile
        self.source = print_kernel(kernel)
        name = function_name(kernel)
        self._function: Any = interpreted(self.source, name) if interpret else load_function(kernel, self.source)
        self._length = len(kernel.live())
        self._flat = kernel.flat
        self._kind = kernel_class("flat" if self._flat else "structured", kernel.storage, self._length)
        self._arrays = [n for n, item in enumerate(kernel.inputs) if item.span is not Span.SCALAR]
        self._scalars = [n for n, item in enumerate(kernel.inputs) if item.span is Span.SCALAR]
        self._compute = DTYPES["f64" if COMPUTE[kernel.storage] == "f64" else "f32"]
        # Remembered, for a call takes some 20 us of Python: by channels, which a flat kernel does not look at, and by tile.
        self._static = functools.cache(lambda channels: choose_tile(kernel, 32 if interpret else _target().warp_size, channels))
        self._tunable = functools.cache(self._tiles)
        self._compile_time = functools.cache(self._named)

    def __call__(
        self, inputs: Sequence[torch.Tensor | float], rows: int, channels: int, like: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Run on a tensor of rows x channels.

        `inputs` are aligned with `kernel.inputs`. ELEMENT: contiguous, of the storage dtype, rows*channels elements, not shifted
        (the kernel does that). ROW, CHANNEL: one-dimensional, in the compute dtype. SCALAR: a number or a tensor of shape ().
        Gives tensors aligned with `kernel.outputs`: for ELEMENT in the shape of the first ELEMENT input or, when there is none, of
        `like`, and the sums in float64 with shape (), (channels,) or (rows,). Raises ValueError for an input of another dtype, size,
        layout or device.
        """
        like = self._check(inputs, rows, channels, like)
        tensors = [t for t in map(inputs.__getitem__, self._arrays) if isinstance(t, torch.Tensor)]
        with self._on(like.device):
            packed = [_pack([inputs[n] for n in self._scalars], self._compute, like.device)] if self._scalars else []

            def run(tile: Tile) -> list[torch.Tensor]:
                if self._flat:
                    return self._run_flat(tensors, packed, like, tile)
                return self._run_structured(tensors, packed, like, (rows, channels), tile)

            results = run(self._tile(like, channels, run))
            return [r if o.span is Span.ELEMENT else r.sum(0) for r, o in zip(results, self.kernel.outputs, strict=True)]

    def _on(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """A context in which kernels are launched on a device."""
        if self.interpret:
            return gpu_rounding()
        return contextlib.nullcontext() if device.index == torch.cuda.current_device() else torch.cuda.device(device)

    def _tile(self, like: torch.Tensor, channels: int, run: Callable[[Tile], object]) -> Tile:
        """The tile that was found to be the fastest for such kernels, or the static one; see `kernels.tuning`."""
        if self._given is not None:
            return self._given
        channels = 1 if self._flat else channels
        tiles = {} if self.interpret else self._tunable(channels)
        if not tiles:
            return self._static(channels)
        seconds = timer(lambda choice: run(tiles[choice])) if like.numel() >= WORTHWHILE else None
        choice = tuned(device_name(like.device.index), self._kind, list(tiles), seconds)
        return self._static(channels) if choice is None else tiles[choice]

    def _tiles(self, channels: int) -> dict[Choice, Tile]:
        """The tiles that a clock may choose from: none where sums are made, or where one element a thread is all that fits."""
        warp_size, size = int(_target().warp_size), DTYPES[self.kernel.storage].itemsize
        if any(o.span is not Span.ELEMENT for o in self.kernel.outputs) or (warp_size == 64 and self._length > MASK_BOUND_BODY):
            return {}
        choices = ANY if self._length <= LONG_BODY and size >= 4 else NARROW
        blocks = {choice: choice.num_warps * warp_size * choice.vectors * VECTOR // size for choice in choices}
        return {choice: choose_tile(self.kernel, warp_size, channels, choice.num_warps, block) for choice, block in blocks.items()}

    def jobs(self, rows: int, channels: int) -> list[Job]:
        """What compiles it ahead of its launches on aligned tensors of rows x channels, for the GPU of this process; for large ones with
        each tile that it may then have."""
        channels_seen = 1 if self._flat else channels
        tiles = {self._given or self._static(channels_seen)}
        if self._given is None and rows * channels >= WORTHWHILE:
            tiles |= set(self._tunable(channels_seen).values())
        shapes = [(1, stop - start) for start, stop in _pieces(rows * channels)] if self._flat else [(rows, channels)]
        return [kernel_job(self.kernel, tile, _target(), *shape) for tile in tiles for shape in shapes]

    def _run_flat(self, tensors: list[torch.Tensor], packed: list[torch.Tensor], like: torch.Tensor, tile: Tile) -> list[torch.Tensor]:
        """Two launches when 16 does not divide the size: all but the last elements, in 128-bit accesses, then those."""
        size = like.numel()
        pieces = [(start, stop, cdiv(stop - start, tile.channels)) for start, stop in _pieces(size)]
        # A slot is 8 bytes. The second launch begins at an even one: what 16 bytes do not divide would be compiled for once more.
        gap = pieces[0][2] % 2 if len(pieces) > 1 else 0
        slots: dict[Span, tuple[int, ...]] = {Span.SCALAR: (sum(programs for _, _, programs in pieces) + gap,)}
        results = self._allocate(like, slots, torch.zeros if gap else torch.empty)
        if len(pieces) == 1:
            self._launch(pieces[0][2], [*tensors, *packed, *results, size], tile)
            return results
        slot = 0
        for start, stop, programs in pieces:
            outputs = [
                r.view(-1)[start:stop] if o.span is Span.ELEMENT else r[slot : slot + programs]
                for r, o in zip(results, self.kernel.outputs, strict=True)
            ]
            self._launch(programs, [*(t.view(-1)[start:stop] for t in tensors), *packed, *outputs, stop - start], tile)
            slot += programs + gap
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
        results = self._allocate(like, slots, torch.empty)
        if programs:
            self._launch(programs, [*tensors, *packed, *results, *sizes], tile)
        return results

    def _allocate(self, like: torch.Tensor, slots: Mapping[Span, tuple[int, ...]], make: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        """A tensor for each output: an empty one like the input, or float64 partial sums, which `make` makes."""
        return [
            torch.empty_like(like) if output.span is Span.ELEMENT else make(slots[output.span], dtype=torch.float64, device=like.device)
            for output in self.kernel.outputs
        ]

    def _launch(self, programs: int, arguments: list[torch.Tensor | int], tile: Tile) -> None:
        self._function[(programs,)](*arguments, **self._compile_time(tile))

    def _named(self, tile: Tile) -> Mapping[str, int]:
        """The arguments that a launch gives by name: the compile-time sizes and, on a GPU, what its compiler is told."""
        constants = tile.constants(self.kernel)
        return constants if self.interpret else constants | {"num_warps": tile.num_warps, **compile_options(_target())}

    def _check(self, inputs: Sequence[torch.Tensor | float], rows: int, channels: int, like: torch.Tensor | None) -> torch.Tensor:
        """The first ELEMENT input or else `like`, once all inputs are known to fit."""
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
        first = like if first is None else first
        if first is None:
            raise ValueError(f"the kernel {self.kernel.name} has no ELEMENT input: say in `like` what its result is like")
        return first


def _pieces(size: int) -> list[tuple[int, int]]:
    """What a flat kernel is launched on: all but the last elements of so many, where 16 does not divide that, and those."""
    body = size - size % _DIVISOR
    return [(start, stop) for start, stop in ((0, body), (body, size)) if start < stop]


def _target() -> GPUTarget:
    target: GPUTarget = driver.active.get_current_target()
    return target


def _capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is being captured."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _pack(values: Sequence[torch.Tensor | float], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The scalar inputs as one array. Numbers are sent to the device once, not on every call."""
    numbers = [value for value in values if not isinstance(value, torch.Tensor)]
    sent = _numbers(struct.pack(f"{len(numbers)}d", *numbers), dtype, device) if numbers else None
    if sent is not None and len(numbers) == len(values):
        return sent
    left = iter(() if sent is None else sent.unbind())
    return torch.stack([value.detach().to(device, dtype) if isinstance(value, torch.Tensor) else next(left) for value in values])


_sent: dict[tuple[bytes, torch.dtype, torch.device], torch.Tensor] = {}
_captured: dict[tuple[bytes, torch.dtype, torch.device], torch.Tensor] = {}  # a CUDA graph reads them whenever it is replayed


def _numbers(packed: bytes, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Numbers on a device, remembered by their bytes, for 0.0 and -0.0 are one key.

    Raises RuntimeError while a CUDA graph is captured, if they are not there yet.
    """
    key = (packed, dtype, device)
    capturing = _capturing(device)
    found = _captured.get(key)
    if found is None:
        found = _sent.get(key)
    if found is None:
        if capturing:
            raise RuntimeError("call the activation once before a CUDA graph is captured with it: its constants are not on the GPU yet")
        if len(_sent) >= _MOST_SENT:
            if device.type == "cuda":
                torch.cuda.synchronize()  # a kernel on another stream may still read what would be freed
            _sent.clear()
        found = _sent[key] = torch.frombuffer(bytearray(packed), dtype=torch.float64).to(device, dtype)
    if capturing:
        _captured[key] = found
    return found
