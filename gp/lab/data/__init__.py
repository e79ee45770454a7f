"""The data sets of the lab: what networks are trained on, and the points outside the training range that they are tested on.

`instances("search")`, `instances("selection")` and `instances("validation")` are the registry, `instance(name)` looks one up,
`make_dataset(instance, seed)` makes its points; `load(path)` reads a user's own from a CSV or Python file (see `gp.lab.data.custom`).
"""

from gp.lab.data.custom import load
from gp.lab.data.dataset import DataError, Dataset, Instance, Raw, SetName, Split, make_dataset
from gp.lab.data.registry import families, instance, instances
from gp.lab.data.sampling import BoxSampling, Range

__all__ = [
    "BoxSampling",
    "DataError",
    "Dataset",
    "Instance",
    "Range",
    "Raw",
    "SetName",
    "Split",
    "families",
    "instance",
    "instances",
    "load",
    "make_dataset",
]
