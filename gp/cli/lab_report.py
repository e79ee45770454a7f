"""What the lab has measured: the rows in order, what they depend on, and both as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from dataclasses import dataclass
from typing import Any, Final

from gp.lab.evaluation import BASELINE, canonical
from gp.lab.protocol import Measurement

Row = dict[str, Any]
_DISTRIBUTIONS: Final = ("actgp", "numpy", "scipy", "numba", "llvmlite", "torch")


@dataclass
class Report:
    """Rows of `gp.lab.evaluation.evaluate_programs`, the best first.

    `source`: the name of the set of data, or the files of a user's own. `asked`: what the user wanted measured, by the names in the
    rows; gelu may be there besides.
    """

    what: Measurement
    fidelity: str
    source: str | list[str]
    backend: str
    asked: tuple[str, ...]
    rows: list[Row]

    def __post_init__(self) -> None:
        self.rows = sorted(self.rows, key=lambda row: (row["score"] is None, row["score"]))

    @property
    def title(self) -> str:
        """Protocol, fidelity, data and seeds in a line."""
        count, seeds = len(self.what.instances), self.what.seeds
        source = f"{self.source} set" if isinstance(self.source, str) else ", ".join(self.source)
        row = seeds == tuple(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
        numbers = f"{seeds[0]} to {seeds[-1]}" if row else ", ".join(map(str, seeds))
        data = f"{source}, {count} data set{'s' * (count != 1)}"
        return f"{self.what.protocol}, {self.fidelity} fidelity; {data}; seed{'s' * (len(seeds) != 1)} {numbers}"

    @property
    def baseline(self) -> str:
        """The program of gelu."""
        return canonical(BASELINE)

    def has(self, key: str) -> bool:
        """Whether any row has a number there."""
        return any(row[key] is not None and not math.isnan(row[key]) for row in self.rows)

    @property
    def families(self) -> list[str]:
        """The families of the data, in their order."""
        return list(dict.fromkeys(i.family for i in self.what.instances))

    @property
    def raw(self) -> bool:
        """Whether scores are raw errors, of any size."""
        return self.what.protocol == "paper"

    def notes(self, row: Row) -> list[str]:
        """What is the matter with a row."""
        if row["reason"] is not None:
            return [f"no score: {row['reason']}"]
        networks = len(self.what.seeds) * len(self.what.instances)
        if row["diverged"] == networks:
            return [f"all {networks} networks diverged" if networks > 1 else "the network diverged"]
        notes = []
        if row["diverged"]:
            notes.append(f"{row['diverged']} of {networks} networks diverged")
        # The gate is for standardised data and the fidelity's own training.
        if not row["fits"] and not self.raw:
            notes.append(f"does not fit: ID fit above {self.what.gate:g}")
        return notes

    def to_json(self, **more: Any) -> str:
        """Everything, and `more`, as JSON; a number that is not finite is null."""
        value = {
            "protocol": self.what.protocol,
            "fidelity": self.fidelity,
            "seeds": list(self.what.seeds),
            "set": self.source,
            "instances": [i.name for i in self.what.instances],
            "backend": self.backend,
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _DISTRIBUTIONS}},
            "rows": [{key: _plain(cell) for key, cell in row.items()} for row in self.rows],
            **more,
        }
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
