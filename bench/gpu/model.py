"""How long kernels and training steps take on a GPU, predicted from what its vendor publishes; nothing here is measured or fitted.

The time of a kernel is

    max(bytes/bandwidth, operations of products/rate, clocks of its instructions/clock) + gap

with the published peak rates (`kernels.gpus`), the boost clock, and a gap that passes from one kernel to the next. The result is a lower
bound but for one thing: bytes are counted as if all came from memory, and tensors that fit in the L2 cache move faster.

Left out: latency, where too few warps are resident to hide it; the clock that a card keeps under load; the last blocks of a kernel, which
leave multiprocessors idle; rare branches; what Python needs for a launch, which is longer than the gap unless the step is a CUDA graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.gpu.counts import kernel_counts, member_counts
from codegen.function import Activation
from codegen.instructions import Span
from codegen.kernel import Kernel, Storage
from gp.lab.network import Architecture
from kernels.gpus import Gpu
from kernels.programs import make_plan
from kernels.triton_compiler import NUM_WARPS

FLOAT: Final = 4  # bytes
_BYTES: Final[dict[Storage, int]] = {"f32": 4, "f64": 8, "bf16": 2, "f16": 2}
# From one kernel to the next within a CUDA graph. NVIDIA's "Getting Started with CUDA Graphs" (technical blog, 2019): 3.4 us for each of 20
# kernels of 2.9 us, on a V100. Assumed for all cards.
GRAPH_GAP: Final = 0.5e-6


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel does, summed over all of its threads, and how often it is launched.

    `bytes`: read and written. `operations`: additions and multiplications of a matrix product. `clocks`: of one multiprocessor, if it did
    all of the instructions (`Gpu.clocks`).
    """

    name: str
    bytes: float
    operations: float = 0.0
    clocks: float = 0.0
    times: int = 1


def seconds(gpu: Gpu, work: Work, gap: float | None = None) -> float:
    """The time of all launches; see the module's text. `gap`: in seconds, by default that between launches of a queue."""
    rate = 2 * gpu.fp32_lanes * gpu.multiprocessors * gpu.clock_hz  # a fused multiply-add is two; no tensor or matrix cores
    busy = max(work.bytes / gpu.bandwidth, work.operations / rate, work.clocks / (gpu.multiprocessors * gpu.clock_hz))
    return work.times * (busy + (gpu.launch_seconds if gap is None else gap))


def kernel_work(name: str, kernel: Kernel, elements: int, gpu: Gpu, counts: Mapping[str, float]) -> Work:
    """Of a kernel of tensors alone: elements times (bytes of each tensor that is read or written; clocks of its instructions)."""
    tensors = [i for i in kernel.inputs if i.span is Span.ELEMENT] + [o for o in kernel.outputs if o.span is Span.ELEMENT]
    return Work(name, elements * len(tensors) * _BYTES[kernel.storage], clocks=elements * gpu.clocks(counts))


def pass_work(function: Activation, order: int, storage: Storage, elements: int, gpu: Gpu, per_thread: int = 0) -> Work:
    """The forward (order 0) or backward (order 1) kernel of a function of x alone. Compiles for the target, if it is not in the cache.

    `per_thread`: the elements of a thread; 0 is what the launcher takes.
    """
    kernel = make_plan(function, order, storage).stages[-1].kernel
    counts = kernel_counts(kernel, gpu.target, per_thread * NUM_WARPS * gpu.warp_size)
    return kernel_work(("forward", "backward")[order], kernel, elements, gpu, counts)


def passes_work(function: Activation, orders: Sequence[int], storage: Storage, elements: int, gpu: Gpu) -> list[Work]:
    """All kernels of the passes of a function without shifts and parameters per channel, those of its statistics among them."""
    stages = [stage for order in orders for stage in make_plan(function, order, storage).stages]
    return [kernel_work(s.kernel.name, s.kernel, elements, gpu, kernel_counts(s.kernel, gpu.target)) for s in stages]


def total(gpu: Gpu, works: Sequence[Work]) -> float:
    """The time of kernels that are launched one after another."""
    return sum(seconds(gpu, work) for work in works)


def group_clocks(functions: Sequence[Activation], gpu: Gpu) -> float:
    """Clocks of one multiprocessor for an element of a group whose members, functions of x alone, have equal shares of it: their mean.

    Members with one structure share their code.
    """
    members = {f.key: f for f in functions}
    shares = Counter(f.key for f in functions)
    return sum(shares[key] * gpu.clocks(member_counts(f, gpu.target)) for key, f in members.items()) / len(functions)


def group_work(elements: int, clocks: float, kernels: int = 1) -> tuple[Work, Work]:
    """The activations of so many elements in so many groups of functions of x alone, each way.

    Forward reads x and writes value and slope: 12 bytes an element. Backward is a product: two tensors read and one written, 12 bytes.
    """
    size = 3 * FLOAT * elements / kernels
    return Work("group", size, clocks=elements * clocks / kernels, times=kernels), Work("mul", size, times=kernels)


# Kernels of a step that handle one number, or one of each network: remainder; index_select of the rate, its copy; abs, ne, eq, mul,
# bitwise_and_ and add_, which say what is still finite, and the zero of `where`; the counts of steps (_foreach_add_, add_).
SMALL: Final = 12


def step_work(architecture: Architecture, inputs: int, batch: int, networks: int, problems: int, clocks: float, groups: int) -> list[Work]:
    """All kernels of `gp.lab.stack.Stack.step` for functions of x alone, with squared loss, named as torch's operators are.

    N networks for P problems, a batch of B rows, layers of i inputs and o outputs; in float32, that is 4 bytes times:

    - inputs: two `index_select`, 2 P B (i + o); `clone` for all networks, P B i read and N B i written
    - layer, forward: `copy_` of the biases to every row, N (o + B o), for torch's `baddbmm` adds its product to that; `baddbmm`,
      N (B i + i o + 2 B o) and 2 N B i o operations; after a hidden layer the groups' kernels
    - loss: 11 N B o by sub, pow, mul, mean, div, where
    - layer, backward: `bmm` for the weights, N (B i + B o + i o), `sum` for the biases, N (B o + o); but for the first layer `bmm` for what
      goes in, as many bytes, and the groups' `mul`. Each `bmm` takes 2 N B i o operations
    - `_fused_adam_`: parameters, gradients, two moments read, all but gradients written: 7 N (i o + o)
    - SMALL others, whose bytes are not counted
    """
    found: list[Work] = []

    def add(name: str, numbers: float, operations: float = 0.0) -> None:
        found.append(Work(name, FLOAT * numbers, operations))

    layers, n, b = architecture.layers(inputs), networks, batch
    add("index_select", 2 * problems * b * inputs)
    add("clone", problems * b * inputs + n * b * inputs)
    add("index_select", 2 * problems * b * architecture.outputs)
    for k, (i, o) in enumerate(layers):
        add("copy_", n * (o + b * o))
        add("baddbmm", n * (b * i + i * o + 2 * b * o), 2 * n * b * i * o)
        if k < len(layers) - 1:
            found.append(group_work(n * b * o, clocks, groups)[0])
    for name, tensors in (("sub", 2), ("pow", 2), ("mul", 2), ("mean", 1), ("div", 2), ("where", 2)):
        add(name, tensors * n * b * architecture.outputs)
    for k, (i, o) in reversed(list(enumerate(layers))):
        add("bmm", n * (b * i + b * o + i * o), 2 * n * b * i * o)
        add("sum", n * (b * o + o))
        if k:
            add("bmm", n * (b * i + b * o + i * o), 2 * n * b * i * o)
            found.append(group_work(n * b * i, clocks, groups)[1])
    add("_fused_adam_", 7 * n * architecture.size(inputs))
    found.append(Work("small", 0.0, times=SMALL))
    return found


def step_seconds(gpu: Gpu, step: Sequence[Work], graph: bool = True) -> float:
    """The time of a step: the sum over its kernels, with the gap of a CUDA graph or that of launches."""
    return sum(seconds(gpu, work, GRAPH_GAP if graph else None) for work in step)
