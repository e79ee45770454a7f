"""Writes what a network does as instructions for `gp.lab.machine`, for one activation and one architecture.

Arrays are row by row: hidden values are batch x width, weights inputs x outputs. BLAS sees their transposes, so a product of arrays
is the product of the factors in the other order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codegen.function import Activation, signature
from codegen.instructions import Span
from codegen.kernel import Input, Output
from codegen.llvm_arguments import sum_stride
from gp.lab import machine
from gp.lab.network import Architecture
from kernels.llvm_compiler import THOROUGH
from kernels.native import NativeFunction, NativeStage, native
from kernels.programs import SLOPE
from kernels.tiles import Tiles, cut

_ALIGNMENT: Final = 64


class Memory:
    """Arrays that stay where they are, by address, as long as this object lives."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []

    def floats(self, count: int, dtype: type[np.generic] = np.float32) -> int:
        """The address of a new array of zeros, at the beginning of a cache line."""
        size = count * np.dtype(dtype).itemsize
        raw = np.zeros(size + _ALIGNMENT, np.uint8)
        self._arrays.append(raw)
        return int(raw.ctypes.data + -raw.ctypes.data % _ALIGNMENT)

    def keep(self, values: NDArray[Any]) -> int:
        """The address of an array that is to be kept."""
        self._arrays.append(values)
        return int(values.ctypes.data)


@dataclass(frozen=True, slots=True)
class Shared:
    """Addresses of what all the code of a network shares: parameters and their gradients, the report of the loss."""

    parameters: int
    gradients: int
    report: int


@dataclass(slots=True)
class Assembler:
    """Instructions for networks that use one activation. `code` grows; this must outlive it, for it holds what they read and call."""

    function: Activation
    architecture: Architecture
    memory: Memory = field(default_factory=Memory)
    code: list[tuple[int, ...]] = field(default_factory=list)
    forward: NativeFunction = field(init=False)
    backward: NativeFunction | None = field(init=False)
    _cotangent: str = field(init=False)

    def __post_init__(self) -> None:
        self._cotangent = signature(self.function.parameters, 1).inputs[-1][0]
        # The quick tier would take 7 ms less to compile and 23 more to train, of 140 at the lowest fidelity.
        if self.function.of_x_alone:  # value and derivative together: two thirds of the work, and one kernel to compile
            self.forward, self.backward = native(self.function, SLOPE, "f32", THOROUGH), None
        else:
            self.forward, self.backward = (native(self.function, order, "f32", THOROUGH) for order in (0, 1))

    def learnable(self) -> NDArray[np.float32]:
        """The initial values of the activation's parameters, of all hidden layers."""
        sizes = [(p, width if p.per_channel else 1) for width in self.architecture.hidden for p in self.function.parameters]
        return np.concatenate([np.zeros(0, np.float32), *(np.full(size, p.initial, np.float32) for p, size in sizes)])

    def step(self, inputs: int, rows: int, shared: Shared, x: int, target: int, loss: int) -> tuple[int, int]:
        """A training step on a batch of `rows` at address `x`: where its instructions begin and end. Gradients are left in `shared`."""
        begin = len(self.code)
        layers = self.architecture.layers(inputs)
        weights, activations = self._places(inputs)
        before, after, slopes = [x], [x], [x]  # each layer's sums, what the activation makes of them, its derivative there
        for k, (fan_in, fan_out) in enumerate(layers):
            before.append(self._linear(after[-1], shared.parameters + weights[k], rows, fan_in, fan_out))
            if k < len(layers) - 1:
                after.append(self.memory.floats(rows * fan_out))
                slopes.append(self.memory.floats(rows * fan_out))
                self._forward(before[-1], shared, activations[k], after[-1], slopes[-1], (rows, fan_out))
        delta = self.memory.floats(rows * self.architecture.outputs)
        self._put(machine.LOSS, delta, before[-1], target, rows * self.architecture.outputs, loss, shared.report)
        for k, (fan_in, fan_out) in reversed(list(enumerate(layers))):
            at = shared.gradients + weights[k]
            self._gemm(at, delta, after[k], (fan_out, fan_in, rows), machine.SECOND)
            self._put(machine.COLUMNS, at + 4 * fan_in * fan_out, delta, rows, fan_out)
            if k:
                upstream, delta_before = self.memory.floats(rows * fan_in), self.memory.floats(rows * fan_in)
                self._gemm(upstream, shared.parameters + weights[k], delta, (fan_in, rows, fan_out), machine.FIRST)
                if self.backward is None:
                    self._put(machine.MULTIPLY, delta_before, upstream, slopes[k], rows * fan_in)
                else:
                    gradients = [shared.gradients + place for place in activations[k - 1].values()]
                    known = {**self._known(before[k], shared, activations[k - 1]), self._cotangent: upstream}
                    self._activation(self.backward, known, [delta_before, *gradients], (rows, fan_in))
                delta = delta_before
        return begin, len(self.code)

    def prediction(self, inputs: int, rows: int, shared: Shared, x: int, result: int) -> tuple[int, int]:
        """The network's outputs (rows x outputs) for `rows` points at address `x`: where the instructions begin and end."""
        begin = len(self.code)
        weights, activations = self._places(inputs)
        layers = self.architecture.layers(inputs)
        for k, (fan_in, fan_out) in enumerate(layers):
            last = k == len(layers) - 1
            sums = self._linear(x, shared.parameters + weights[k], rows, fan_in, fan_out, result if last else None)
            if not last:
                x, unused = self.memory.floats(rows * fan_out), self.memory.floats(rows * fan_out)
                self._forward(sums, shared, activations[k], x, unused, (rows, fan_out))
        return begin, len(self.code)

    def _places(self, inputs: int) -> tuple[list[int], list[dict[str, int]]]:
        """Byte offsets in the vector of parameters: of each layer's weights, and of each activation's parameters by name."""
        weights, at = [], 0
        for fan_in, fan_out in self.architecture.layers(inputs):
            weights.append(4 * at)
            at += (fan_in + 1) * fan_out
        activations = []
        for width in self.architecture.hidden:
            places = {}
            for parameter in self.function.parameters:
                places[parameter.name] = 4 * at
                at += width if parameter.per_channel else 1
            activations.append(places)
        return weights, activations

    def _put(self, *row: int) -> None:
        self.code.append((*row, *(0,) * (machine.WIDTH - len(row))))

    def _gemm(self, c: int, a: int, b: int, shape: tuple[int, int, int], kind: int) -> None:
        m, n, k = shape
        leading = (k if kind == machine.FIRST else m, n if kind == machine.SECOND else k, m)
        self._put(machine.GEMM, c, a, b, self.memory.keep(np.array([m, n, k, *leading], np.int32)), kind)

    def _linear(self, x: int, weights: int, rows: int, fan_in: int, fan_out: int, result: int | None = None) -> int:
        sums = self.memory.floats(rows * fan_out) if result is None else result
        self._put(machine.SPREAD, sums, weights + 4 * fan_in * fan_out, rows, fan_out)
        self._gemm(sums, weights, x, (fan_out, rows, fan_in), machine.ADD)
        return sums

    def _forward(self, x: int, shared: Shared, places: Mapping[str, int], y: int, slope: int, shape: tuple[int, int]) -> None:
        """The activation at x into y, and where that is all the backward pass needs its derivative into `slope`."""
        self._activation(self.forward, self._known(x, shared, places), [y, slope] if self.backward is None else [y], shape)

    @staticmethod
    def _known(x: int, shared: Shared, places: Mapping[str, int]) -> dict[str, int]:
        """Addresses of what a kernel reads, by name."""
        return {"x": x, **{name: shared.parameters + place for name, place in places.items()}}

    def _activation(self, function: NativeFunction, known: dict[str, int], results: Sequence[int], shape: tuple[int, int]) -> None:
        """The stages of a function on an array of `shape`; its results go to those addresses, in order."""
        for stage in function.stages:
            self._stage(stage, known, results, shape)

    def _stage(self, stage: NativeStage, known: dict[str, int], results: Sequence[int], shape: tuple[int, int]) -> None:
        rows, channels = shape
        tiles = cut(stage.inputs, stage.outputs, rows, channels)
        constants = stage.constants(self.function.constants)
        scalars = [i for i in stage.inputs if i.span is Span.SCALAR]
        pool = np.zeros(len(scalars), np.float32)
        pool_at = self.memory.keep(pool)
        for k, item in enumerate(scalars):
            if item.constant is not None:
                pool[k] = constants[item.constant]
            else:
                self._put(machine.SPREAD, pool_at + 4 * k, known[item.source], 1, 1)
        arrays = [self._array(i, known[i.source], shape, tiles) for i in stage.inputs if i.span is not Span.SCALAR]
        folds: list[tuple[int, ...]] = []
        for k, output in enumerate(stage.outputs):
            if output.span is Span.ELEMENT:
                arrays.append(results[k])
            else:
                arrays.append(self._sum(output, known, results[k] if k < len(results) else 0, shape, tiles, folds))
        header = [rows * channels, tiles.length, tiles.rows, 0, pool_at]
        self._put(machine.KERNEL, stage.code.address, self.memory.keep(np.array([*header, *arrays], np.int64)), tiles.count)
        for fold in folds:
            self._put(machine.FOLD, *fold)

    def _array(self, item: Input, address: int, shape: tuple[int, int], tiles: Tiles) -> int:
        """Where a kernel reads an input: there, or where it is first turned or repeated."""
        rows, channels = shape
        if item.span is Span.CHANNEL and (tiles.join > 1 or item.shift):
            to = self.memory.floats(tiles.length)
            self._put(machine.REPEAT, to, address, tiles.join, channels, item.shift % channels)
            return to
        if item.span is Span.ELEMENT and item.shift:
            to = self.memory.floats(rows * channels)
            self._put(machine.ROLL, to, address, rows, channels, item.shift % channels)
            return to
        return address

    def _sum(
        self, output: Output, known: dict[str, int], result: int, shape: tuple[int, int], tiles: Tiles, folds: list[tuple[int, ...]]
    ) -> int:
        """Where a kernel leaves the parts of a sum, and in `folds` how they are put together: to a mean or to a gradient."""
        rows, channels = shape
        if output.span is Span.SCALAR:
            parts, stride, n, join, divisor = tiles.count, 1, 1, 1, rows * channels
        elif output.span is Span.ROW:
            parts, stride, n, join, divisor = 1, 0, rows, 1, channels
        else:
            parts, stride, n, join, divisor = tiles.count, sum_stride(tiles.length), channels, tiles.join, rows
        if output.name.startswith("mean."):
            known[output.name] = result = self.memory.floats(n)
        else:
            divisor = 1
        at = self.memory.floats(max(parts * stride, n), np.float64)
        if output.span is Span.CHANNEL:
            self._put(machine.CLEAR, at, parts * stride)
        folding = np.frombuffer(struct.pack("<4qd", parts, stride, n, join, float(divisor)), np.uint8).copy()
        folds.append((result, at, self.memory.keep(folding)))
        return at
