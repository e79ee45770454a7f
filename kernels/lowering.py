"""The torch lowering of a program, ready to run: what `backend="eager"`, traces and exports are made of."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from typing import Any, Final, cast

import torch

from codegen.torch import print_lowering
from kernels.programs import program
from kernels.recent import MOST_KEPT

Lowered = Callable[..., Any]

# torch.compile can trace neither the translation nor a function that it is given as a constant, but what it finds by a name.
_functions: Final = types.SimpleNamespace()
_names: Final[dict[tuple[str, int], str]] = {}
_numbers: Final = itertools.count()


def lowered(text: str, order: int) -> Lowered:
    """The derivative of that order of a program, as a function of its inputs (see `codegen.function`) and `channel_dim`.

    One result is a tensor, more are a tuple. Plain torch operations: torch's autograd may differentiate it, but not at every edge.
    """
    return cast(Lowered, getattr(_functions, _name(text, order)))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _name(text: str, order: int) -> str:
    name = _names.get((text, order))
    if name is None:
        namespace: dict[str, Any] = {}
        exec(compile(print_lowering(program(text), order), "<activation>", "exec"), namespace)
        if len(_names) >= MOST_KEPT:
            delattr(_functions, _names.pop(next(iter(_names))))
        name = _names[text, order] = f"function{next(_numbers)}"
        setattr(_functions, name, namespace["activation"])
    return name
