"""What `gp show` prints without `--emit`: an overview with curves, or the static report on GPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from codegen.cost import Cost, cost
from codegen.function import Activation
from codegen.text import declarations, to_latex, to_program
from gp.cli.choices import Target
from gp.cli.console import console, print_field, width
from gp.cli.emit import report
from gp.cli.figure import save_figure
from gp.cli.inputs import Named
from gp.cli.plots import panel
from gp.cli.sampling import Curve, sample
from grammar import format_program

_HEIGHT: Final = 10  # lines of a plot
_GAP: Final = 2  # columns between two plots
_SIDE_BY_SIDE: Final = 60  # columns; on a narrower terminal one plot stands below the other
_WIDEST: Final = 110  # columns; a wider plot shows no more


def print_overview(activation: Named) -> None:
    """Formula, derivative, parameters, cost, LaTeX and the curves of value and derivative."""
    function = activation.function
    if activation.name:
        print_field("name", activation.name)
    if activation.notes:
        print_field("notes", "\n".join(activation.notes))
    print_field("formula", formula(activation))
    print_field("derivative", format_program(to_program(function.slope, declarations(function.parameters))))
    print_field("parameters", "\n".join(_parameters(function)) or "none")
    print_field("cost", f"value {_cost(cost([function.graph]))}; derivative {_cost(cost([function.slope]))}, per element")
    print_field("LaTeX", to_latex(function.graph))
    console().print()
    _print_plots(sample(function))


def formula(activation: Named) -> str:
    """The program in canonical text."""
    return format_program(activation.function.function.program)


def save_plot(activation: Named, path: Path) -> None:
    """Write the picture of `gp show --plot`."""
    text = "; ".join(line for line in formula(activation).splitlines() if not line.startswith("param "))
    save_figure(sample(activation.function), f"{activation.name}: {text}" if activation.name else text, path)


def print_report(activation: Named, targets: Sequence[Target]) -> None:
    """The table of `gp show --report`, one line for each kernel and target."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("target")
    table.add_column("kernel", overflow="fold")
    for name in ("regis-\nters", "spills", "local\nbytes", "load\nbits", "store\nbits", "instruc-\ntions", "per\nelement"):
        table.add_column(name, justify="right")
    for target in targets:
        for name, kernel in report(activation.function, target):
            table.add_row(
                target,
                name,
                str(kernel.registers),
                str(kernel.spills),
                str(kernel.local_bytes),
                "+".join(map(str, kernel.load_bits)) or "-",
                "+".join(map(str, kernel.store_bits)) or "-",
                str(kernel.instructions),
                f"{kernel.instructions_per_element:.1f}",
            )
    console().print(table)
    console().print("float32; registers, local memory and load and store widths are those of one thread", style="dim", soft_wrap=True)


def _parameters(function: Activation) -> list[str]:
    return [f"{p.name} = {p.initial:g} ({'one per channel' if p.per_channel else 'scalar'})" for p in function.parameters]


def _cost(value: Cost) -> str:
    flops = f"{value.flops} operation{'s' * (value.flops != 1)}"
    calls = f"{value.transcendental} elementary function{'s' * (value.transcendental != 1)}"
    return f"{flops} and {calls}" if value.transcendental else flops


def _print_plots(curve: Curve) -> None:
    """Value and derivative, side by side where there is room."""
    columns = min(width(), _WIDEST)
    if columns >= _SIDE_BY_SIDE:
        each = (columns - _GAP) // 2
        pairs = zip(panel("f(x)", curve.x, curve.value, each, _HEIGHT), panel("df/dx", curve.x, curve.slope, each, _HEIGHT), strict=True)
        lines = [left + " " * _GAP + right for left, right in pairs]
    else:
        lines = [*panel("f(x)", curve.x, curve.value, columns, _HEIGHT), *panel("df/dx", curve.x, curve.slope, columns, _HEIGHT)]
    for line in lines:
        text = Text(line.rstrip())
        text.highlight_regex("[\u2801-\u28ff]+", "cyan")
        console().print(text, soft_wrap=True)
    if curve.assumption:
        console().print(f"drawn with {curve.assumption}", style="dim", soft_wrap=True)
