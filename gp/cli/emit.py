"""`gp show --emit`: the source or machine code of an activation for one backend; and the static report on its GPU kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from codegen.function import Activation
from codegen.graph import Node
from gp.cli.choices import Emit, Target
from gp.cli.errors import CommandError

if TYPE_CHECKING:
    from codegen.kernel import Kernel
    from kernels.report import Report


_NVIDIA: Final = (Target.SM_80, Target.SM_90, Target.SM_100)
_TARGETS: Final[Mapping[Emit, tuple[Target, ...]]] = {Emit.PTX: _NVIDIA, Emit.SASS: _NVIDIA, Emit.AMDGCN: (Target.GFX942,)}
_DEFAULT: Final[Mapping[Emit, Target]] = {Emit.PTX: Target.SM_90, Emit.SASS: Target.SM_90, Emit.AMDGCN: Target.GFX942}


def emit(function: Activation, what: Emit, *, backward: bool = False, target: Target | None = None) -> str:
    """The source of the value, or with `backward` of the derivative, ending in a newline.

    For triton, llvm, asm and machine code: float32 kernels, forward or backward, which torch's functions are as well. For numpy and latex:
    f(x) or df/dx.
    Raises CommandError for a target that cannot be had.
    """
    if target is not None and what not in _TARGETS:
        raise CommandError(f"--target has no meaning for --emit {what}")
    if target is not None and target not in _TARGETS[what]:
        raise CommandError(f"--emit {what} is for the targets {', '.join(_TARGETS[what])}, not {target}")
    if what is Emit.TORCH:
        from codegen.torch import print_lowering  # noqa: PLC0415

        text = print_lowering(function, int(backward))
    elif what in (Emit.NUMPY, Emit.LATEX):
        text = _printer(what, tuple(p.name for p in function.parameters))(function.slope if backward else function.graph)
    else:
        text = "\n".join(_kernel_text(kernel, what, target) for kernel in _kernels(function, int(backward)))
    return text.rstrip("\n") + "\n"


def report(function: Activation, target: Target) -> list[tuple[str, Report]]:
    """The kernels of the forward and backward pass by name, with what the compiler made of them. Raises CommandError without Triton."""
    _require_triton()
    from kernels.report import static_report  # noqa: PLC0415

    return [(kernel.name, static_report(kernel, target)) for order in (0, 1) for kernel in _kernels(function, order)]


def _printer(what: Emit, parameters: tuple[str, ...]) -> Callable[[Node], str]:
    from codegen.numpy import print_numpy  # noqa: PLC0415
    from codegen.text import to_latex  # noqa: PLC0415

    return (lambda root: print_numpy(root, parameters)) if what is Emit.NUMPY else to_latex


def _kernels(function: Activation, order: int) -> list[Kernel]:
    from kernels.programs import make_plan  # noqa: PLC0415

    return [stage.kernel for stage in make_plan(function, order, "f32").stages]


def _kernel_text(kernel: Kernel, what: Emit, target: Target | None) -> str:
    if what is Emit.TRITON:
        from codegen.triton import print_kernel  # noqa: PLC0415

        return print_kernel(kernel)
    if what in (Emit.LLVM, Emit.ASM):
        from kernels.llvm_compiler import assembly  # noqa: PLC0415
        from kernels.native import native_ir  # noqa: PLC0415

        return native_ir(kernel) if what is Emit.LLVM else assembly(native_ir(kernel))
    _require_triton()
    from kernels.report import static_report  # noqa: PLC0415

    return static_report(kernel, target or _DEFAULT[what]).asm[what]


def _require_triton() -> None:
    try:
        import triton  # noqa: F401, PLC0415
    except ImportError as error:
        raise CommandError(
            f"GPU code is made by Triton, which cannot be imported here ({error}); it exists for Linux: pip install triton"
        ) from error
