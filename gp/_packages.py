"""Are the packages that `import kernels` and the like would find our own? Their names are on PyPI too (Hugging Face's `kernels`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Final

PACKAGES: Final = ("grammar", "codegen", "kernels")


def check_packages() -> None:
    """Raise ImportError, in one sentence with what to do, unless all of PACKAGES lie beside `gp`. Imports none of them."""
    root = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ImportError(f"actgp's package '{name}' is missing from {root}; install actgp again (pip install --force-reinstall actgp)")
        # A package without __init__.py may lie in several folders; a module that is one file lies in none.
        found = [Path(folder).resolve() for folder in spec.submodule_search_locations or [spec.origin or name]]
        if root / name not in found:
            beside = not sys.flags.safe_path and found[0].parent == Path(sys.path[0]).resolve()
            near = ", beside your script or where you are; rename it, start Python with -P (python -P ...)," if beside else ";"
            raise ImportError(
                f"actgp needs its own package '{name}' from {root}, but Python finds another one at {found[0]}{near} "
                f"uninstall what it belongs to (perhaps: pip uninstall {name}), "
                f"or put {root} before it on the path (PYTHONPATH)"
            )
