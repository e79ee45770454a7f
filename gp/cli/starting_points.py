"""What `--seed-from` names: the programs that a search starts from, beside the catalogue."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gp.cli.errors import CommandError
from gp.cli.inputs import load, read_file
from gp.evolution.config import Config
from gp.evolution.genome import text_of, to_genome
from gp.run_file import FILE
from gp.run_reading import read_best, read_hall
from grammar import DSLError


def with_seeds(config: Config, sources: Sequence[str]) -> Config:
    """The settings with the programs of all sources added to `initial`.

    Raises CommandError for a source that cannot be read, and for a program that is not in the space of the settings; ConfigError for
    one that was in `initial`.
    """
    space = config.space
    found = {text_of(program): None for program in config.programs}
    for origin, text in _programs(sources, config):
        try:
            program = to_genome(load(text).function.function.program)
        except (DSLError, ValueError) as error:
            raise CommandError(f"{origin}: {error}") from error
        if not space.allows(program):
            hint = "--parameters, --statistics, --shifts or other weights make room for it"
            raise CommandError(f"{origin}: {text_of(program)} is not in the space of the search; {hint}")
        found[text_of(program)] = None
    return dataclasses.replace(config, initial=tuple(found))


def _programs(sources: Sequence[str], config: Config) -> Iterator[tuple[str, str]]:
    """(what messages call it, its text) of every program that sources name."""
    for source in sources:
        path = Path(source).parent if source.endswith(f"/{FILE}") else Path(source)
        if os.path.isfile(path / FILE):  # not `Path.is_file`: an expression can be too long for a name
            hall = read_hall(path)
            texts = [e.formula for e in hall.entries] if hall else [c.text for c in read_best(path, config.hall)]
            yield from ((f"--seed-from {source}", text) for text in texts)
        elif os.path.isdir(path):
            raise CommandError(f"--seed-from {source}: there is no run in this directory (no file {FILE})")
        elif os.path.isfile(path) and path.suffix != ".act":
            lines = [line.partition("#")[0].strip() for line in read_file(path).splitlines()]
            yield from ((f"{source}, line {k}", line) for k, line in enumerate(lines, 1) if line)
        else:
            yield f"--seed-from {source}", source
