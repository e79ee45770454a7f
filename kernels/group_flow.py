"""A group's kernel with its body, for Triton's compiler.

`codegen.group_body` puts a body in place through a builder. A call of the body is a placeholder at first: an assembly instruction of as
many operands and results, which goes through all that Triton does about tensors. Then, before it is made LLVM's, the body takes its place.
To scalar code those passes do nothing, but they took 6 of 25 ms for each expression of a group.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import triton.language as tl
from triton import knobs
from triton._C.libtriton import ir

from codegen.group import GroupStage
from codegen.group_body import PACK, body_name, put_body, results
from codegen.group_triton import function_name, print_group
from codegen.instructions import Type
from codegen.kernel import Kernel
from codegen.scalar_triton import Handle, builder_type, constant, put_function
from kernels.fingerprint import fingerprint
from kernels.triton_compiler import load, without_line_numbers


class CompiledGroup:
    """A stage's kernel for Triton: `function` is the `triton.JITFunction`, to be compiled and launched within `running()`.

    Triton finds what it has compiled by the kernel's text. So the body's name there has digests of the body, and of all code that may
    have a part in putting it in place. `change`: what is to be different in the text around the body.
    """

    def __init__(self, stage: GroupStage, change: Callable[[str], str] = str) -> None:
        self._stage, self._name = stage, f"{body_name(stage)}_{fingerprint('codegen', 'kernels')[:16]}"
        module = load(change(print_group(stage, self._name)))
        setattr(module, self._name, tl.core.builtin(self._placeholder))
        self.function: Any = getattr(module, function_name(stage))

    def _placeholder(self, *arguments: Any, _semantic: Any = None) -> tuple[Any, ...]:
        builder, count = _semantic.builder, PACK * len(results(self._stage))
        constraints = ",".join(["=r"] * count + ["r"] * len(arguments))
        types = [builder_type(builder, "f32")] * count
        made = builder.create_inline_asm(self._name, constraints, [a.handle for a in arguments], types, True, 1)
        return tuple(tl.tensor(made.get_result(k), tl.float32) for k in range(count))

    @contextmanager
    def running(self, *, keep_stages: bool = False) -> Iterator[None]:
        """A context in which Triton compiles the kernel with its body.

        `keep_stages`: it keeps what comes before the machine code as well, ten times as much on disk.
        """
        with without_line_numbers(), knobs.compilation.scope(), knobs.runtime.scope():
            knobs.compilation.store_binary_only = not keep_stages
            key = f"{self._name}{' and stages' * keep_stages}"
            knobs.runtime.add_stages_inspection_hook = functools.partial(self._inspect, key)
            yield

    def _inspect(self, key: str, *arguments: Any) -> tuple[str, str]:
        """Triton's hook for changes of its stages: called with them when it compiles, and without for a key and its digest."""
        if arguments:
            _, stages, options, *_ = arguments
            plain = stages["ttgir"]
            stages["ttgir"] = lambda module, metadata: self._filled(plain(module, metadata), options.backend_name)
        return key, key

    def _filled(self, module: Any, backend: str) -> Any:
        """The module with the body where its placeholder is. A placeholder that stayed would be an error of the assembler's."""
        found: list[Any] = []
        module.walk(lambda op: found.append(op) if op.get_name() == "tt.elementwise_inline_asm" else None)
        for placeholder in found:
            if placeholder.get_str_attr("asm_string") == self._name:
                builder = ir.builder(module.context)
                builder.set_insertion_point_to_start(placeholder.get_block())  # whose arguments it reads
                operands = [placeholder.get_operand(k) for k in range(placeholder.get_num_operands())]
                for k, handle in enumerate(put_body(_CompilerFlow(builder, module, backend), self._stage, operands)):
                    placeholder.get_result(k).replace_all_uses_with(handle)
        return module


class _CompilerFlow:
    """Control flow as operations of a kernel that is being compiled; functions are added to its module."""

    def __init__(self, builder: Any, module: Any, backend: str) -> None:
        self.builder = builder
        self._module, self._backend = module, backend

    def call(self, function: Kernel, arguments: Sequence[Handle]) -> Handle:
        name = f"{function.name}_"
        if not self._module.has_function(name):
            self._add(name, function)
        return self.builder.call(self._module.get_function(name), list(arguments)).get_result(0)

    def _add(self, name: str, function: Kernel) -> None:
        builder = ir.builder(self._module.context)  # this flow's would put the function where it stands, within the kernel
        real = builder_type(builder, "f32")
        signature = builder.get_function_ty([real] * len(function.inputs), [real])
        made = builder.get_or_insert_function(self._module, name, signature, "private", True)  # not to be inlined
        self._module.push_back(made)
        builder.set_insertion_point_to_start(made.add_entry_block())
        arguments = [made.args(k) for k in range(len(function.inputs))]
        builder.ret([put_function(_CompilerFlow(builder, self._module, self._backend), function, arguments)])

    def branch(
        self, condition: Handle, types: Sequence[Type], one: Callable[[], Sequence[Handle]], other: Callable[[], Sequence[Handle]]
    ) -> list[Handle]:
        made = self.builder.create_if_op([builder_type(self.builder, type) for type in types], condition, True)
        for block, code in ((made.get_then_block(), one), (made.get_else_block(), other)):
            with self._at(block):
                self.builder.create_yield_op(list(code()))
        return [made.get_result(k) for k in range(len(types))]

    def repeat(self, count: Handle, values: Sequence[Handle], body: Callable[[list[Handle]], Sequence[Handle]]) -> list[Handle]:
        # At least once: for none there would be code, too, a tenth of a kernel's.
        one = constant(self.builder, 1, "i32")
        made = self.builder.create_for_op(constant(self.builder, 0, "i32"), self.builder.create_maxsi(count, one), one, list(values))
        block = made.get_body(0)
        with self._at(block):
            self.builder.create_yield_op(list(body([block.arg(k + 1) for k in range(len(values))])))  # the first is the counter
        return [made.get_result(k) for k in range(len(values))]

    def floor(self, x: Handle) -> Handle:
        return self._instruction("cvt.rmi.f32.f32", "=r,r", "f32", x) if self._backend == "cuda" else self.builder.create_floor(x)

    def wide_sqrt(self, x: Handle) -> Handle:
        return self._instruction("sqrt.rn.f64", "=l,l", "f64", x) if self._backend == "cuda" else self.builder.create_sqrt(x)

    def _instruction(self, name: str, constraints: str, type: Type, x: Handle) -> Handle:
        """An instruction of NVIDIA's, for which Triton would call NVIDIA's library: linking that takes 25 ms a kernel."""
        text = f"{name} $0, $1;"
        return self.builder.create_inline_asm(text, constraints, [x], [builder_type(self.builder, type)], True, 1).get_result(0)

    @contextmanager
    def _at(self, block: Any) -> Iterator[None]:
        place = self.builder.get_insertion_point()
        self.builder.set_insertion_point_to_start(block)
        yield
        self.builder.restore_insertion_point(place)
