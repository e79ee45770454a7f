"""What `gp lab` and `gp compare` are asked for: the words and options that both take, and what these mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gp.cli.errors import CommandError

if TYPE_CHECKING:
    from gp.cli.inputs import Named
    from gp.lab.data import Instance
    from gp.lab.protocol import Measurement, ProtocolName

_MOST_SEEDS: Final = 1000
_HIGHEST_SEED: Final = 2**32 - 1


class Fidelities(StrEnum):
    """What `--fidelity` takes; the names are those of `gp.lab.protocol`, and so on below. Here, so that `gp --help` imports no lab."""

    QUICK = "quick"
    STANDARD = "standard"
    FULL = "full"


class Sets(StrEnum):
    """What `--set` takes."""

    SEARCH = "search"
    SELECTION = "selection"
    VALIDATION = "validation"


class Protocols(StrEnum):
    """What `--protocol` takes."""

    LAB_V1 = "lab-v1"
    PAPER = "paper"


class Backends(StrEnum):
    """What `--backend` takes."""

    COMPILED = "compiled"
    EAGER = "eager"


Expressions = Annotated[list[str], typer.Argument(metavar="EXPR...", help="Expressions of x, names of `gp list`, or .act files.")]
Fidelity = Annotated[Fidelities, typer.Option(help="100, 300 or 1000 training steps; 1, 2 or 4 seeds.")]
Seeds = Annotated[str | None, typer.Option(help="0:8 (without 8), 3 or 0,2,5; by default as many as the fidelity has.")]
Set = Annotated[Sets | None, typer.Option("--set", help="The data sets of `gp data list`; by default search.")]
Data = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Your own data instead: .csv or .py, which is run as a program. May be repeated.")
]
WorkerCount = Annotated[int | None, typer.Option(min=1, max=256, help="Processes that train on the CPU; by default one for each core.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")]


def read_measurement(
    fidelity: Fidelities, seeds: str | None, set_: Sets | None, data: Sequence[Path] | None, protocol: ProtocolName = "lab-v1"
) -> tuple[Measurement, str | list[str]]:
    """What the options ask for, and where its data are from: the name of a set, or a user's files. Raises CommandError."""
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    if data and set_ is not None:
        raise CommandError("--data takes the place of the data sets of --set; leave one of them out")
    from gp.lab.protocol import measurement  # noqa: PLC0415 - `gp --help` does without what this imports

    chosen = set_ or Sets.SEARCH
    what = measurement(fidelity.value, data=_load(data) if data else chosen.value, seeds=chosen_seeds, protocol=protocol)
    return what, [str(path) for path in data] if data else chosen.value


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds that `--seeds` means. Raises CommandError."""
    if match := re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", text):
        first, end = map(int, match.groups())
        count, last = end - first, end - 1
    elif re.fullmatch(r"[0-9]{1,12}(,[0-9]{1,12})*", text):
        numbers = tuple(map(int, text.split(",")))
        count, last = len(numbers), max(numbers)
        if len(set(numbers)) < count:
            raise CommandError(f"--seeds {text}: a seed is given twice")
    else:
        raise CommandError(f"--seeds {text}: give a range such as 0:8 (0 to 7), a seed such as 3, or several such as 0,2,5")
    if count < 1:
        raise CommandError(f"--seeds {text}: there is no seed in this range; 0:8 are the seeds 0 to 7")
    if count > _MOST_SEEDS or last > _HIGHEST_SEED:
        raise CommandError(f"--seeds {text}: there may be {_MOST_SEEDS} seeds, and none above {_HIGHEST_SEED}")
    return tuple(range(first, end)) if match else numbers


def read_programs(expressions: Sequence[str]) -> list[tuple[str, str, Named]]:
    """Of each activation: what it is called in the results (its name or file, or the text itself), its canonical text, and itself."""
    from gp.cli.inputs import load  # noqa: PLC0415
    from gp.lab.evaluation import canonical  # noqa: PLC0415

    found = [(expression, load(expression), canonical(expression)) for expression in expressions]
    return [((named.name and expression.strip()) or text, text, named) for expression, named, text in found]


def _load(files: Sequence[Path]) -> tuple[Instance, ...]:
    """The data sets in a user's files, tried. Raises CommandError."""
    from gp.lab.data import DataError, load, make_dataset  # noqa: PLC0415

    homes: dict[str, Path] = {}
    found: list[Instance] = []
    try:
        for path in files:
            for instance in load(path):
                if instance.name in homes:
                    raise CommandError(f"--data {path}: {homes[instance.name]} has a data set called '{instance.name}' too; rename one")
                make_dataset(instance, 0)
                homes[instance.name] = path
                found.append(instance)
    except DataError as error:
        raise CommandError(str(error)) from error
    return tuple(found)
