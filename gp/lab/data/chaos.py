"""Forecasts of chaotic systems: from a state to one of its coordinates a little later. The only variant is `forecast`.

The points of Lorenz' and Roessler's system lie on the attractor; those of the other systems of the search are uniform in a box.
Flows are integrated by Runge-Kutta 4. Each instance states its equations, with ' for the time derivative of a flow and for the
next state of a map, and its ranges; the papers are named in `fields` and `maps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gp.lab.data import fields, maps
from gp.lab.data.dataset import Instance
from gp.lab.data.flows import Attractor, AttractorSampling, Flow, Forecast
from gp.lab.data.maps import Iterate
from gp.lab.data.sampling import Box, BoxSampling, Range, describe

_VARIANT: Final = "forecast"
_UP_TO: Final = float("-inf")
DOUBLE_PENDULUM: Final = ("theta1", "theta2", "omega1", "omega2")
# Near the z axis, where the flow falls past the origin and out: what begins about the other fixed points lingers in the attractor's holes.
LORENZ_START: Final = (Range(-3.0, 3.0), Range(-3.0, 3.0), Range(10.0, 15.0))


def on_attractor(
    name: str, equations: str, attractor: Attractor, target: str, time: float, chosen_by: str, boundary: float, outer: float
) -> Instance:
    """Coordinate `target` after a time, from points of an attractor in x, y, z.

    Training points have `chosen_by` below `boundary`, points out of distribution have it between there and `outer`.
    """
    axes = "xyz"
    train, outside = Range(_UP_TO, boundary), Range(boundary, outer)
    return Instance(
        family="chaos",
        variant=_VARIANT,
        name=f"chaos-{name}",
        input_names=tuple(axes),
        formula=f"{equations}; {target} after {time:g}",
        ranges=f"{chosen_by} < {boundary:g} -> {outside}, on the attractor",
        points=AttractorSampling(attractor, axes.index(chosen_by), train, outside, time, axes.index(target)),
    )


def in_box(name: str, equations: str, inputs: Sequence[str], function: Forecast | Iterate, train: Box, outside: Box) -> Instance:
    """One of the coordinates `inputs`, a little later, from states that are uniform in a box."""
    return Instance(
        family="chaos",
        variant=_VARIANT,
        name=f"chaos-{name}",
        input_names=tuple(inputs),
        formula=f"{equations}; {inputs[function.coordinate]} {function.when}",
        ranges=describe(inputs, train, outside),
        points=BoxSampling(train, outside, function),
    )


def search() -> tuple[Instance, ...]:
    """The systems of the search."""
    lorenz = "x' = 10 (y - x), y' = x (28 - z) - y, z' = x y - 8/3 z"
    lorenz_attractor = Attractor(Flow(fields.lorenz, (10.0, 28.0, 8 / 3)), LORENZ_START, step=0.01)
    roessler_attractor = Attractor(
        Flow(fields.roessler, (0.2, 0.2, 5.7)), (Range(-8.0, -4.0), Range(-4.0, 4.0), Range(0.0, 0.1)), step=0.05
    )
    unit, flat, slow = Range(0.0, 1.0), Range(-0.4, 0.4), Range(-1.0, 1.0)
    small, large = Range(-1.2, 1.2), Range(1.2, 1.8, mirrored=True)
    return (
        on_attractor("lorenz-x", lorenz, lorenz_attractor, "x", 0.15, chosen_by="x", boundary=0.0, outer=8.0),
        on_attractor("lorenz-z", lorenz, lorenz_attractor, "z", 0.15, chosen_by="z", boundary=27.0, outer=34.0),
        on_attractor(
            "roessler-x", "x' = -y - z, y' = x + 0.2 y, z' = 0.2 + z (x - 5.7)", roessler_attractor, "x", 0.6,
            chosen_by="x", boundary=2.0, outer=5.0,
        ),
        in_box(
            "logistic", "x' = r x (1 - x)", "xr", Iterate(maps.logistic, (), steps=2, coordinate=0),
            (unit, Range(2.8, 3.5)), (unit, Range(3.5, 3.75)),
        ),
        in_box(
            "henon", "x' = 1 - 1.4 x^2 + y, y' = 0.3 x", "xy", Iterate(maps.henon, (1.4, 0.3), steps=2, coordinate=0),
            (Range(-1.3, 0.3), flat), (Range(0.3, 0.8), flat),
        ),
        in_box(
            "double-pendulum", "double pendulum, masses 1 and 1, lengths 1 and 1, g = 9.81", DOUBLE_PENDULUM,
            Forecast(Flow(fields.double_pendulum, (1.0, 1.0, 1.0, 1.0, 9.81)), time=0.2, coordinate=1),
            (small, small, slow, slow), (large, large, slow, slow),
        ),
    )  # fmt: skip
