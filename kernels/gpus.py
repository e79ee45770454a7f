"""What the vendors publish of the GPUs that kernels are compiled for, and how many warps of a kernel fit on one.

Nothing here was measured. A figure that holds for an instruction set holds for every GPU of the target.

Sources, by the mark beside a figure:

- [A] NVIDIA A100 Tensor Core GPU Architecture, v1.0, tables 1-4; A100 80GB datasheet for its bandwidth.
- [H] NVIDIA H100 Tensor Core GPU Architecture, v1.04, tables 1-3; H100 and H200 datasheets for bandwidth.
- [B] NVIDIA Blackwell Architecture Technical Brief, v2.1, table 3 (HGX B200: 62 TB/s and 600 TFLOPS of float32 for eight). NVIDIA
  gives neither multiprocessors nor clock: 148 and 1.965 GHz, which make 74.5 TFLOPS, are what the OpenXLA project works with
  (xla/stream_executor/cuda/cuda_core_info_table.cc). L2: Blackwell Tuning Guide, section 1.4.2.2.
- [G] CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability": warps, blocks, registers, shared memory.
- [T] CUDA C++ Best Practices Guide 13, table "Throughput of Native Arithmetic Instructions", results per clock and multiprocessor.
- [C] AMD CDNA 3 Architecture white paper, and MI300X data sheet: 304 compute units at 2.1 GHz, 256 float32 and 128 float64 operations per
  clock and compute unit (a fused multiply-add is two; float32 counts packed instructions, which make two results).
- [L] LLVM, User Guide for AMDGPU Backend, and `AMDGPU::IsaInfo`: 512 vector registers a lane and SIMD, given out by 8; 8 waves a SIMD;
  800 scalar registers a SIMD, given out by 16; 16 work groups a compute unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. Multiprocessors are compute units on AMD, and warps are wavefronts.

    `clock_hz`: highest (boost) clock. `bandwidth`: of memory, bytes/s. `launch_seconds`: from one launch of a kernel to the next of a
    queue that is never empty.

    Results per clock and multiprocessor, one instruction of a warp making `warp_size` of them: `issue_lanes` of any instructions together,
    `fp32_lanes` of float32 arithmetic (and of integer multiply-add), `integer_lanes` of other integer arithmetic, comparisons and
    selections, `special_lanes` of the special function unit (which also converts numbers on NVIDIA), `fp64_lanes` of float64 arithmetic.
    On AMD (`one_vector_unit`) these are one unit at different rates, and scalar instructions are issued beside it.

    Each multiprocessor is `partitions` schedulers with `registers_per_partition` 32-bit registers; a warp has `register_granule` registers
    a thread or a multiple, and stays on one. `max_warps`, `max_blocks` and `shared_bytes` are those of a multiprocessor.
    `scalar_registers` of a partition are shared by its warps, in steps of `scalar_granule`; 0 where there are none to share.
    """

    name: str
    target: str
    multiprocessors: int
    clock_hz: float
    bandwidth: float
    l2_bytes: int
    fp32_lanes: int
    integer_lanes: int
    special_lanes: int
    fp64_lanes: int
    shared_bytes: int
    issue_lanes: int = 128  # four schedulers, one warp a clock each [A] [H]
    one_vector_unit: bool = False
    launch_seconds: float = 3e-6  # of an empty kernel: njuffa in NVIDIA's developer forum, 2022, thread 233645. Assumed for AMD
    warp_size: int = 32
    partitions: int = 4
    max_warps: int = 64  # [G]
    max_blocks: int = 32  # [G]
    registers_per_partition: int = 16_384  # 256 KB a multiprocessor [G]
    register_granule: int = 8  # 256 registers a warp: CUDA Occupancy Calculator
    shared_reserved: int = 1 << 10  # by CUDA, of each block (tuning guides for Ampere and Hopper)
    scalar_registers: int = 0
    scalar_granule: int = 1

    def occupancy(self, registers: int, warps: int, shared_bytes: int = 0, scalar_registers: int = 0) -> float:
        """Resident warps over `max_warps`, for blocks of so many warps with so many registers a thread.

        A block is resident as a whole. The least of the bounds by warps, blocks, registers, scalar registers and shared memory counts; 0 is
        a kernel that cannot be launched.
        """
        by_registers = self.registers_per_partition // (_up(registers, self.register_granule) * self.warp_size)
        by_partition = min(self.max_warps // self.partitions, by_registers)
        if self.scalar_registers and scalar_registers:
            by_partition = min(by_partition, self.scalar_registers // _up(scalar_registers, self.scalar_granule))
        blocks = min(self.max_blocks, self.partitions * by_partition // warps)
        if shared_bytes:
            blocks = min(blocks, self.shared_bytes // (shared_bytes + self.shared_reserved))
        return blocks * warps / self.max_warps

    def clocks(self, kinds: Mapping[str, float]) -> float:
        """Clocks of a multiprocessor for so many instructions of one thread, by kind as `kernels.report` names them, at the least.

        That is the time of the busiest unit when there are warps enough; access to memory is not in it.
        """
        lanes = {"fp32": self.fp32_lanes, "integer": self.integer_lanes, "special": self.special_lanes, "fp64": self.fp64_lanes}
        times = [kinds[kind] / lanes[kind] for kind in lanes]
        return sum(times) if self.one_vector_unit else max(*times, sum(kinds.values()) / self.issue_lanes)


def _up(value: int, granule: int) -> int:
    """The next multiple of the granule, at least one."""
    return max(1, -(-value // granule)) * granule


_HOPPER: Final = {
    "target": "sm_90", "multiprocessors": 132, "clock_hz": 1.98e9, "l2_bytes": 50 << 20,  # [H]
    "fp32_lanes": 128, "integer_lanes": 64, "special_lanes": 16, "fp64_lanes": 64, "shared_bytes": 228 << 10,  # [T] [G]
}  # fmt: skip

A100: Final = Gpu(
    "A100 SXM 80GB", target="sm_80", multiprocessors=108, clock_hz=1.41e9, bandwidth=2.039e12, l2_bytes=40 << 20,  # [A]
    fp32_lanes=64, integer_lanes=64, special_lanes=16, fp64_lanes=32, shared_bytes=164 << 10,  # [T] [G]
)  # fmt: skip
H100: Final = Gpu("H100 SXM", bandwidth=3.35e12, **_HOPPER)  # type: ignore[arg-type]
H200: Final = Gpu("H200 SXM", bandwidth=4.8e12, **_HOPPER)  # type: ignore[arg-type]
B200: Final = Gpu(
    "B200", target="sm_100", multiprocessors=148, clock_hz=1.965e9, bandwidth=7.75e12, l2_bytes=126 << 20,  # [B]
    fp32_lanes=128, integer_lanes=64, special_lanes=16, fp64_lanes=64, shared_bytes=228 << 10,  # [T] [G]
)  # fmt: skip
MI300X: Final = Gpu(
    "MI300X", target="gfx942", multiprocessors=304, clock_hz=2.1e9, bandwidth=5.3e12, l2_bytes=32 << 20,  # 4 MB on each of 8 dies [C]
    # Four SIMDs of 16 lanes, a wave of 64 in 4 clocks; a special function takes four times as long [L]: SISchedule.td, WriteTrans32.
    fp32_lanes=64, integer_lanes=64, special_lanes=16, fp64_lanes=64, shared_bytes=64 << 10, issue_lanes=64, one_vector_unit=True,  # [C]
    warp_size=64, max_warps=32, max_blocks=16, registers_per_partition=32_768, shared_reserved=0,  # [L]
    scalar_registers=800, scalar_granule=16,  # [L]
)  # fmt: skip

GPUS: Final = (A100, H100, H200, B200, MI300X)
BY_TARGET: Final = {gpu.target: gpu for gpu in reversed(GPUS)}  # the first one listed, where several GPUs run the same code
