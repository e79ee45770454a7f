"""What is measured, by name: protocols and fidelities. A changed definition is a new name; results under an old one stay comparable.

lab-v1  data standardised; a network's score is clip(ln(MSE_ood/MSE_constant + 1e-4), -5, 1), so 0 is as bad as a constant;
        `quick` trains for 100 steps at 1e-2, `standard` for 300 and `full` for 1000 at 5e-3, with 1, 2 and 4 seeds
paper   data as they are, 300 steps at 2e-3; the score is the arithmetic mean of the raw MSE_ood, in which the largest
        error decides. It stands beside lab-v1 for comparison with arXiv 2602.05688; the search does not use it
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import Final, Literal

from gp.lab.data import Instance, SetName, instances
from gp.lab.network import SMALL, Architecture
from gp.lab.training import Training

ProtocolName = Literal["lab-v1", "paper"]
FidelityName = Literal["quick", "standard", "full"]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How thoroughly: seeds by default, steps, the learning rate at its highest; the highest mean ln(ID MSE/variance) of a function
    that can fit at all; and the seconds that one seed of one candidate may take before it is given up."""

    seeds: int
    steps: int
    learning_rate: float
    gate: float
    limit: float


FIDELITIES: Final[dict[FidelityName, Fidelity]] = {
    "quick": Fidelity(1, 100, 1e-2, -1.5, 10.0),
    "standard": Fidelity(2, 300, 5e-3, -3.0, 30.0),
    "full": Fidelity(4, 1000, 5e-3, -3.0, 100.0),
}
PROTOCOLS: Final[tuple[ProtocolName, ...]] = ("lab-v1", "paper")
_PAPER_TRAINING: Final = Training(300, 2e-3)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that a candidate's score depends on besides the candidate.

    `parts`: whether a `Score` keeps that of every network, which paired differences need.
    """

    instances: tuple[Instance, ...]
    seeds: tuple[int, ...]
    training: Training
    protocol: ProtocolName = "lab-v1"
    gate: float = FIDELITIES["standard"].gate
    limit: float = FIDELITIES["full"].limit
    architecture: Architecture = SMALL
    parts: bool = False

    @property
    def standardise(self) -> bool:
        """Whether data are standardised."""
        return self.protocol != "paper"

    @property
    def key(self) -> str:
        """A short name, equal for equal measurements of the registered data sets."""
        training, architecture = astuple(self.training), astuple(self.architecture)
        settings = [self.protocol, [i.name for i in self.instances], self.seeds, training, architecture, self.parts]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def measurement(
    fidelity: FidelityName = "standard",
    *,
    data: tuple[Instance, ...] | SetName = "search",
    seeds: tuple[int, ...] | None = None,
    protocol: ProtocolName = "lab-v1",
) -> Measurement:
    """The measurement of that name, on a set of data or given instances; `seeds` defaults to 0, 1, ... as many as the fidelity has.

    Raises ValueError for a name that does not exist.
    """
    if fidelity not in FIDELITIES:
        raise ValueError(f"there is no fidelity '{fidelity}'; choose {', '.join(FIDELITIES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol '{protocol}'; choose {', '.join(PROTOCOLS)}")
    level = FIDELITIES[fidelity]
    training = Training(level.steps, level.learning_rate) if protocol == "lab-v1" else _PAPER_TRAINING
    chosen = instances(data) if isinstance(data, str) else data
    return Measurement(chosen, tuple(range(level.seeds)) if seeds is None else seeds, training, protocol, level.gate, level.limit)
