"""The words that options of several commands take; on their own, so that `gp --help` imports no code generator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

DEVICES: Final = "auto, cpu, cuda (all GPUs), cuda:1 or several such as cuda:0,cuda:2"
DeviceName = Annotated[str, typer.Option("--device", help=f"What trains: {DEVICES}; auto: the GPUs, if there are any that work.")]


class Emit(StrEnum):
    """What `--emit` can print."""

    TRITON = "triton"
    LLVM = "llvm"
    ASM = "asm"
    PTX = "ptx"
    SASS = "sass"
    AMDGCN = "amdgcn"
    TORCH = "torch"
    NUMPY = "numpy"
    LATEX = "latex"


class Target(StrEnum):
    """The GPUs that kernels are compiled for offline (`kernels.triton_compiler.TARGETS`)."""

    SM_80 = "sm_80"
    SM_90 = "sm_90"
    SM_100 = "sm_100"
    GFX942 = "gfx942"


class Preset(StrEnum):
    """The settings of `gp run` that come with it (gp/evolution/presets)."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


class Strategy(StrEnum):
    """How `gp run` searches (`gp.evolution.config.Strategy`)."""

    GP = "gp"
    RANDOM = "random"


class Parameters(StrEnum):
    """The learnable parameters that candidates of `gp run` may have (`gp.evolution.space.Learnable`)."""

    NONE = "none"
    SCALAR = "scalar"
    CHANNEL = "channel"
    BOTH = "both"
