"""The compiled core of the trainer: a machine whose instructions are whole operations on arrays, and the training loop around it.

What a network does in a step, or to predict, is a list of instructions, rows of int64: an opcode and its operands, which are
addresses of arrays unless said otherwise (`gp.lab.assembler` writes them). There is no Python in the loop: matrix products are
calls of BLAS's sgemm, activations are calls of compiled kernels, both by address; the rest is below.

    GEMM     c a b dims kind   c = a b, in column-major order; `dims`: six int32 m n k lda ldb ldc; `kind` is one of those below
    SPREAD   to from rows n    each row of `to` is the vector `from`
    KERNEL   code args tiles   a kernel (`codegen.llvm_arguments`) over all its tiles
    ROLL     to from rows n k  each row of n numbers turned right by k places
    REPEAT   to from times n k the vector of n numbers, turned right by k places, so many times
    CLEAR    to n              n float64 are set to zero
    FOLD     to from shape     sums: `shape` is four int64 and a float64, parts stride n join divisor; for c < n,
                               to[c] = (sum over t < parts, j < join of from[t*stride + j*n + c])/divisor, in float64, then float32
    COLUMNS  to from rows n    the sum of each column
    MULTIPLY to a b n          element by element
    LOSS     to y target n kind report   the mean loss of n predictions into `report`, its gradient into `to`
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from kernels.numba_cache import compiled

GEMM, SPREAD, KERNEL, ROLL, REPEAT, CLEAR, FOLD, COLUMNS, LOSS, MULTIPLY = range(10)
WIDTH: Final = 7  # of an instruction
# Kinds of matrix product: added to what is in c; with the second factor transposed; with the first one transposed.
ADD, SECOND, FIRST = range(3)
# What `train` is told of a kind of network (number of inputs and sizes of its data), by column.
INPUTS, BATCH, BATCHES, STEP, STEP_END, INSIDE, INSIDE_END, OUTSIDE, OUTSIDE_END, INSIDE_COUNT, OUTSIDE_COUNT, WEIGHTS = range(12)
# What it is told of a network: its kind, and where its points, targets and weights begin.
KIND, TRAIN_X, TRAIN_Y, INSIDE_X, INSIDE_Y, OUTSIDE_X, OUTSIDE_Y, WEIGHTS_AT = range(8)
# Its buffers, by address.
X, Y, PARAMETERS, GRADIENTS, FIRST_MOMENT, SECOND_MOMENT, REPORT, TEST_X, PREDICTION = range(9)
# Addresses for BLAS: the function, the letters N and T, the numbers 1 and 0.
SGEMM, LETTER_N, LETTER_T, ONE, ZERO = range(5)

_POINTER: Final = ir.IntType(8).as_pointer()


def _caller(argument_types: list[Any], ir_types: list[Any]) -> Any:
    """What emits a call of the function at the first argument, for numba."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), ir_types)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        values = [builder.inttoptr(a, t) if t is _POINTER else a for a, t in zip(arguments[1:], ir_types, strict=True)]
        builder.call(function, values)
        return context.get_dummy_value()

    return types.void(types.int64, *argument_types), emit


@intrinsic  # type: ignore[untyped-decorator]
def _call_kernel(typing: Any, code: Any, arguments: Any, tile: Any) -> Any:
    return _caller([types.int64] * 2, [_POINTER, ir.IntType(64)])


@intrinsic  # type: ignore[untyped-decorator]
def _call_sgemm(typing: Any, code: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any) -> Any:  # noqa: E501  # fmt: skip
    return _caller([types.int64] * 13, [_POINTER] * 13)


def _pointer_to(kind: Any, ir_type: Any) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def pointer(typing: Any, address: Any) -> Any:
        return types.CPointer(kind)(types.int64), lambda context, builder, signature, args: builder.inttoptr(args[0], ir_type.as_pointer())

    return pointer


_float32 = _pointer_to(types.float32, ir.FloatType())
_float64 = _pointer_to(types.float64, ir.DoubleType())
_int64 = _pointer_to(types.int64, ir.IntType(64))


@compiled
def _roll(to: Any, source: Any, n: int, k: int) -> None:
    for c in range(n - k):
        to[c + k] = source[c]
    for c in range(k):
        to[c] = source[n - k + c]


@compiled
def _fold(row: Any) -> None:
    shape = carray(_int64(row[3]), 4)
    parts, stride, n, join = shape[0], shape[1], shape[2], shape[3]
    divisor = carray(_float64(row[3] + 32), 1)[0]
    to, source = carray(_float32(row[1]), n), carray(_float64(row[2]), parts * stride + join * n)
    for c in range(n):
        total = 0.0
        for t in range(parts):
            for j in range(join):
                total += source[t * stride + j * n + c]
        to[c] = np.float32(total / divisor)


@compiled
def _columns(to: Any, source: Any, rows: int, n: int) -> None:
    # Eight rows at a time: one at a time would load and store `to` for each, 0.7 us instead of 0.15 for 64 x 32.
    to[:] = np.float32(0.0)
    whole = rows // 8 * 8
    for r in range(0, whole, 8):
        at = source[r * n : (r + 8) * n]
        for c in range(n):
            upper = (at[c] + at[n + c]) + (at[2 * n + c] + at[3 * n + c])
            to[c] += upper + ((at[4 * n + c] + at[5 * n + c]) + (at[6 * n + c] + at[7 * n + c]))
    for r in range(whole, rows):
        for c in range(n):
            to[c] += source[r * n + c]


@compiled
def _loss(to: Any, y: Any, target: Any, n: int, kind: int) -> Any:
    total = 0.0
    scale = np.float32(1.0) / np.float32(n)
    one, half = np.float32(1.0), np.float32(0.5)
    for i in range(n):
        error = y[i] - target[i]
        if kind == 0:
            total += np.float64(error * error)
            to[i] = (error + error) * scale
        else:
            size = abs(error)
            sign = np.float32(np.sign(error))
            if kind == 2 and size <= one:
                total += np.float64(half * error * error)
                to[i] = error * scale
            else:
                total += np.float64(size - (half if kind == 2 else np.float32(0.0)))
                to[i] = sign * scale
    return np.float32(total / n)


@compiled
def run(code: NDArray[np.int64], begin: int, end: int, blas: NDArray[np.int64]) -> None:
    """Carry out the instructions from `begin` to `end`."""
    for i in range(begin, end):
        row = code[i]
        opcode = row[0]
        if opcode == GEMM:
            dims, kind = row[4], row[5]
            turn_a = blas[LETTER_T] if kind == FIRST else blas[LETTER_N]
            turn_b = blas[LETTER_T] if kind == SECOND else blas[LETTER_N]
            beta = blas[ONE] if kind == ADD else blas[ZERO]
            _call_sgemm(
                blas[SGEMM], turn_a, turn_b, dims, dims + 4, dims + 8, blas[ONE], row[2], dims + 12, row[3], dims + 16, beta, row[1],
                dims + 20,
            )  # fmt: skip
        elif opcode == KERNEL:
            for tile in range(row[3]):
                _call_kernel(row[1], row[2], tile)
        elif opcode == SPREAD:
            rows, n = row[3], row[4]
            to, source = carray(_float32(row[1]), rows * n), carray(_float32(row[2]), n)
            for r in range(rows):
                for c in range(n):
                    to[r * n + c] = source[c]
        elif opcode == COLUMNS:
            _columns(carray(_float32(row[1]), row[4]), carray(_float32(row[2]), row[3] * row[4]), row[3], row[4])
        elif opcode == MULTIPLY:
            n = row[4]
            to, first, second = carray(_float32(row[1]), n), carray(_float32(row[2]), n), carray(_float32(row[3]), n)
            for c in range(n):
                to[c] = first[c] * second[c]
        elif opcode == LOSS:
            n = row[4]
            report = carray(_float32(row[6]), 1)
            report[0] = _loss(carray(_float32(row[1]), n), carray(_float32(row[2]), n), carray(_float32(row[3]), n), n, row[5])
        elif opcode == FOLD:
            _fold(row)
        elif opcode == CLEAR:
            carray(_float64(row[1]), row[2])[:] = 0.0
        elif opcode == ROLL:
            n = row[4]
            for r in range(row[3]):
                _roll(carray(_float32(row[1] + 4 * r * n), n), carray(_float32(row[2] + 4 * r * n), n), n, row[5])
        else:
            n = row[4]
            for r in range(row[3]):
                _roll(carray(_float32(row[1] + 4 * r * n), n), carray(_float32(row[2]), n), n, row[5])


@compiled
def _adam(p: Any, g: Any, m: Any, v: Any, rate: Any, step: int, beta1: float, beta2: float, epsilon: float) -> None:
    # As torch.optim.Adam writes it: p -= rate/(1 - beta1^t) * m/(sqrt(v)/sqrt(1 - beta2^t) + epsilon).
    size = np.float32(rate / (1.0 - beta1**step))
    scale = np.float32(1.0 / np.sqrt(1.0 - beta2**step))
    b1, b2, c1, c2, e = np.float32(beta1), np.float32(beta2), np.float32(1.0 - beta1), np.float32(1.0 - beta2), np.float32(epsilon)
    for i in range(len(p)):
        m[i] = b1 * m[i] + c1 * g[i]
        v[i] = b2 * v[i] + c2 * (g[i] * g[i])
        p[i] -= size * m[i] / (np.sqrt(v[i]) * scale + e)


@compiled
def _error(code: Any, begin: int, end: int, blas: Any, test_x: Any, prediction: Any, x: Any, y: Any) -> float:
    """The mean squared error of the predictions at x."""
    test_x[: len(x)] = x
    run(code, begin, end, blas)
    total = 0.0
    for i in range(len(y)):
        total += np.float64(prediction[i] - y[i]) ** 2
    return total / len(y)


@compiled
def train(
    code: Any, kinds: Any, networks: Any, points: Any, weights: Any, learnable: Any, rates: Any, adam: Any, buffers: Any, blas: Any,
    outputs: int, losses: Any, done: Any,
) -> None:  # fmt: skip
    """Train every network and measure it.

    `code`: all instructions; `kinds` and `networks`: rows as the constants above number them; `points` and `weights`: the float32
    data and initial weights of all networks; `learnable`: initial values of the activation's parameters; `rates`: the learning rate
    of each step; `adam`: beta1 beta2 epsilon. Results: `losses` (networks, 2), the mean squared errors in and out of distribution,
    NaN for a network whose training loss stopped being finite, and `done` (networks,), the steps that it made.
    """
    report = carray(_float32(buffers[REPORT]), 1)
    for i in range(len(networks)):
        network = networks[i]
        kind = kinds[network[KIND]]
        inputs, batch, base = kind[INPUTS], kind[BATCH], kind[WEIGHTS]
        count = base + len(learnable)
        p, g = carray(_float32(buffers[PARAMETERS]), count), carray(_float32(buffers[GRADIENTS]), count)
        m, v = carray(_float32(buffers[FIRST_MOMENT]), count), carray(_float32(buffers[SECOND_MOMENT]), count)
        p[:base] = weights[network[WEIGHTS_AT] : network[WEIGHTS_AT] + base]
        p[base:] = learnable
        g[:] = np.float32(0.0)
        m[:] = np.float32(0.0)
        v[:] = np.float32(0.0)
        x, y = carray(_float32(buffers[X]), batch * inputs), carray(_float32(buffers[Y]), batch * outputs)
        finite = True
        for step in range(len(rates)):
            at = step % kind[BATCHES]
            x[:] = points[network[TRAIN_X] + at * batch * inputs : network[TRAIN_X] + (at + 1) * batch * inputs]
            y[:] = points[network[TRAIN_Y] + at * batch * outputs : network[TRAIN_Y] + (at + 1) * batch * outputs]
            run(code, kind[STEP], kind[STEP_END], blas)
            if not np.isfinite(report[0]):
                finite = False
                break
            _adam(p, g, m, v, rates[step], step + 1, adam[0], adam[1], adam[2])
            done[i] = step + 1
        losses[i, 0] = np.nan
        losses[i, 1] = np.nan
        if finite:
            for k in range(2):
                begin, end = (kind[INSIDE], kind[INSIDE_END]) if k == 0 else (kind[OUTSIDE], kind[OUTSIDE_END])
                size = kind[INSIDE_COUNT] if k == 0 else kind[OUTSIDE_COUNT]
                x_at, y_at = (network[INSIDE_X], network[INSIDE_Y]) if k == 0 else (network[OUTSIDE_X], network[OUTSIDE_Y])
                test_x = carray(_float32(buffers[TEST_X]), size * inputs)
                prediction = carray(_float32(buffers[PREDICTION]), size * outputs)
                x_test, y_test = points[x_at : x_at + size * inputs], points[y_at : y_at + size * outputs]
                losses[i, k] = _error(code, begin, end, blas, test_x, prediction, x_test, y_test)
