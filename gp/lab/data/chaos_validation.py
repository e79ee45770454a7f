"""Forecasts of the validation set: other systems than those of the search, or the same with other parameters."""

from __future__ import annotations

import math
from typing import Final

from gp.lab.data import fields, maps
from gp.lab.data.chaos import DOUBLE_PENDULUM, LORENZ_START, in_box, on_attractor
from gp.lab.data.dataset import Instance
from gp.lab.data.flows import Attractor, Flow, Forecast
from gp.lab.data.maps import Iterate
from gp.lab.data.sampling import Range

_AROUND_ZERO: Final = (Range(-1.0, 1.0),) * 3
_UNIT: Final = Range(0.0, 1.0)
_SLOW: Final = Range(-1.0, 1.0)
_PHASE: Final = Range(0.0, 2 * math.pi)


def validation() -> tuple[Instance, ...]:
    """The systems for validation: flows on their attractor, flows in a box, maps in a box."""
    return (*_attractors(), *_flows(), *_maps())


def _attractors() -> tuple[Instance, ...]:
    lorenz_45 = Attractor(Flow(fields.lorenz, (10.0, 45.0, 8 / 3)), LORENZ_START, step=0.01)
    lorenz_16 = Attractor(Flow(fields.lorenz, (16.0, 45.92, 4.0)), LORENZ_START, step=0.008)
    roessler = Attractor(Flow(fields.roessler, (0.1, 0.1, 14.0)), (Range(-15.0, -8.0), Range(-8.0, 8.0), Range(0.0, 0.1)), step=0.04)
    chen_start = (Range(-10.0, 10.0), Range(-10.0, 10.0), Range(10.0, 20.0))
    chen = Attractor(Flow(fields.chen, (35.0, 3.0, 28.0)), chen_start, step=0.003)
    lu = Attractor(Flow(fields.lu, (36.0, 3.0, 20.0)), chen_start, step=0.003)
    halvorsen = Attractor(Flow(fields.halvorsen, (1.4,)), (Range(-2.0, -1.0), Range(-1.0, 0.0), Range(-1.0, 0.0)), step=0.01)
    thomas = Attractor(Flow(fields.thomas, (0.18,)), (Range(-1.0, 1.0), Range(-2.0, 2.0), Range(-3.0, 3.0)), step=0.1)
    sprott = Attractor(Flow(fields.sprott_b, ()), _AROUND_ZERO, step=0.05)
    lorenz_84 = Attractor(Flow(fields.lorenz_84, (0.25, 4.0, 8.0, 1.0)), (Range(0.0, 2.0), _SLOW, _SLOW), step=0.02)
    rucklidge = Attractor(Flow(fields.rucklidge, (2.0, 6.7)), (_SLOW, Range(3.0, 5.0), Range(0.0, 5.0)), step=0.03)
    shimizu = Attractor(Flow(fields.shimizu_morioka, (0.75, 0.45)), (_SLOW, _SLOW, _UNIT), step=0.05)
    return (
        on_attractor("lorenz-45-x", "x' = 10 (y - x), y' = x (45 - z) - y, z' = x y - 8/3 z", lorenz_45, "x", 0.1,
                     chosen_by="x", boundary=0.0, outer=10.0),
        on_attractor("lorenz-16-z", "x' = 16 (y - x), y' = x (45.92 - z) - y, z' = x y - 4 z", lorenz_16, "z", 0.08,
                     chosen_by="z", boundary=42.0, outer=52.0),
        on_attractor("roessler-14-y", "x' = -y - z, y' = x + 0.1 y, z' = 0.1 + z (x - 14)", roessler, "y", 0.4,
                     chosen_by="y", boundary=3.0, outer=9.0),
        on_attractor("chen-z", "x' = 35 (y - x), y' = 28 y - 7 x - x z, z' = x y - 3 z", chen, "z", 0.05,
                     chosen_by="z", boundary=24.0, outer=29.0),
        on_attractor("lu-x", "x' = 36 (y - x), y' = 20 y - x z, z' = x y - 3 z", lu, "x", 0.06, chosen_by="x", boundary=0.0, outer=7.0),
        on_attractor("halvorsen-x", "x' = -1.4 x - 4 y - 4 z - y^2 and cyclic", halvorsen, "x", 0.2,
                     chosen_by="x", boundary=-2.0, outer=2.0),
        on_attractor("thomas-x", "x' = sin y - 0.18 x and cyclic", thomas, "x", 1.0, chosen_by="x", boundary=0.5, outer=2.0),
        on_attractor("sprott-b-z", "x' = y z, y' = x - y, z' = 1 - x y", sprott, "z", 0.6, chosen_by="z", boundary=0.3, outer=1.3),
        on_attractor("lorenz-84-y", "x' = -y^2 - z^2 - x/4 + 2, y' = x y - 4 x z - y + 1, z' = 4 x y + x z - z", lorenz_84, "y", 0.3,
                     chosen_by="x", boundary=1.2, outer=1.7),
        on_attractor("rucklidge-x", "x' = -2 x + 6.7 y - y z, y' = x, z' = y^2 - z", rucklidge, "x", 0.4,
                     chosen_by="y", boundary=1.0, outer=2.5),
        on_attractor("shimizu-morioka-x", "x' = y, y' = x (1 - z) - 0.75 y, z' = x^2 - 0.45 z", shimizu, "x", 0.8,
                     chosen_by="x", boundary=0.2, outer=0.7),
    )  # fmt: skip


def _flows() -> tuple[Instance, ...]:
    def pendulum(time: float, coordinate: int, *parameters: float) -> Forecast:
        return Forecast(Flow(fields.double_pendulum, (*parameters, 9.81)), time, coordinate)

    small, large = Range(-1.0, 1.0), Range(1.0, 1.5, mirrored=True)
    left, right = Range(-0.4, 0.2), Range(0.2, 0.4)
    quiet = (Range(-0.3, 0.3),) * 3
    return (
        in_box("double-pendulum-heavy", "double pendulum, masses 1 and 2, lengths 1 and 0.5, g = 9.81", DOUBLE_PENDULUM,
               pendulum(0.15, 0, 1.0, 2.0, 1.0, 0.5), (small, small, _SLOW, _SLOW), (large, large, _SLOW, _SLOW)),
        in_box("double-pendulum-light", "double pendulum, masses 2 and 1, lengths 0.8 and 1.2, g = 9.81", DOUBLE_PENDULUM,
               pendulum(0.25, 1, 2.0, 1.0, 0.8, 1.2), (small, small, _SLOW, _SLOW), (large, large, _SLOW, _SLOW)),
        in_box("driven-pendulum", "theta'' = -sin theta - theta'/2 + 1.5 cos phase, phase' = 2/3", ("theta", "omega", "phase"),
               Forecast(Flow(fields.driven_pendulum, (0.5, 1.5, 2 / 3)), time=1.0, coordinate=0),
               (Range(-1.5, 1.5), _SLOW, _PHASE), (Range(1.5, 2.2, mirrored=True), _SLOW, _PHASE)),
        in_box("duffing", "x'' = x - x^3 - 0.3 x' + 0.5 cos phase, phase' = 1.2", ("x", "v", "phase"),
               Forecast(Flow(fields.duffing, (0.3, 0.5, 1.2)), time=1.0, coordinate=0),
               (Range(-1.0, 1.0), _SLOW, _PHASE), (Range(1.0, 1.4, mirrored=True), _SLOW, _PHASE)),
        in_box("van-der-pol", "x'' = 5 (1 - x^2) x' - x + 5 cos phase, phase' = 2.466", ("x", "v", "phase"),
               Forecast(Flow(fields.van_der_pol, (5.0, 5.0, 2.466)), time=0.2, coordinate=0),
               (Range(0.2, 1.4), _SLOW, _PHASE), (Range(-0.4, 0.2), _SLOW, _PHASE)),
        in_box("henon-heiles", "x'' = -x - 2 x y, y'' = -y - x^2 + y^2; velocities u, v", ("x", "y", "u", "v"),
               Forecast(Flow(fields.henon_heiles, ()), time=1.5, coordinate=0), (left, *quiet), (right, *quiet)),
    )  # fmt: skip


def _maps() -> tuple[Instance, ...]:
    return (
        in_box("logistic-three", "x' = r x (1 - x)", "xr", Iterate(maps.logistic, (), 3, 0),
               (Range(0.0, 0.5), Range(2.4, 3.0)), (Range(0.0, 0.5), Range(3.0, 3.3))),
        in_box("cubic", "x' = r x - x^3", "xr", Iterate(maps.cubic, (), 2, 0), (_SLOW, Range(1.8, 2.4)), (_SLOW, Range(2.4, 2.7))),
        in_box("ricker", "x' = x exp(r (1 - x))", "xr", Iterate(maps.ricker, (), 2, 0),
               (Range(0.2, 2.0), Range(1.0, 2.0)), (Range(0.2, 2.0), Range(2.0, 2.4))),
        in_box("sine", "x' = r sin(pi x)", "xr", Iterate(maps.sine, (), 2, 0), (_UNIT, Range(0.5, 0.75)), (_UNIT, Range(0.75, 0.9))),
        in_box("gauss", "x' = exp(-6.2 x^2) + b", "xb", Iterate(maps.gauss, (6.2,), 2, 0),
               (Range(-0.8, 0.8), Range(-0.9, -0.4)), (Range(-0.8, 0.8), Range(-0.4, -0.15))),
        in_box("henon-three", "x' = 1 - 1.2 x^2 + y, y' = 0.3 x", "xy", Iterate(maps.henon, (1.2, 0.3), 3, 0),
               (Range(-1.1, 0.3), Range(-0.3, 0.3)), (Range(0.3, 0.7), Range(-0.3, 0.3))),
        in_box("lozi", "x' = 1 - 1.7 |x| + y, y' = 0.5 x", "xy", Iterate(maps.lozi, (1.7, 0.5), 2, 0),
               (Range(-1.0, 0.2), Range(-0.5, 0.5)), (Range(0.2, 0.6), Range(-0.5, 0.5))),
        in_box("ikeda", "z' = 1 + 0.9 z exp(i (0.4 - 6/(1 + |z|^2))), z = x + i y", "xy", Iterate(maps.ikeda, (0.9,), 1, 0),
               (Range(-0.5, 1.0), Range(-1.5, 0.5)), (Range(1.0, 1.5), Range(-1.5, 0.5))),
        in_box("tinkerbell", "x' = x^2 - y^2 + 0.9 x - 0.6013 y, y' = 2 x y + 2 x + 0.5 y", "xy",
               Iterate(maps.tinkerbell, (0.9, -0.6013, 2.0, 0.5), 2, 0),
               (Range(-1.2, 0.0), Range(-1.5, 0.5)), (Range(0.0, 0.4), Range(-1.5, 0.5))),
        in_box("standard", "p' = p + 1.2 sin theta, theta' = theta + p'", ("theta", "p"), Iterate(maps.standard, (1.2,), 2, 1),
               (Range(0.0, 3.0), _SLOW), (Range(3.0, 4.0), _SLOW)),
        in_box("duffing-map", "x' = y, y' = -0.2 x + 2.75 y - y^3", "xy", Iterate(maps.duffing_map, (2.75, 0.2), 2, 1),
               (_SLOW, Range(-1.4, 0.8)), (_SLOW, Range(0.8, 1.4))),
        in_box("delayed-logistic", "x' = 2.27 x (1 - y), y' = x", "xy", Iterate(maps.delayed_logistic, (2.27,), 3, 0),
               (Range(0.1, 0.6), Range(0.1, 0.9)), (Range(0.6, 0.9), Range(0.1, 0.9))),
        in_box("burgers", "x' = 0.25 x - y^2, y' = (2.75 + x) y", "xy", Iterate(maps.burgers, (0.75, 1.75), 2, 1),
               (Range(-2.0, -0.8), Range(-0.8, 0.8)), (Range(-0.8, 0.0), Range(-0.8, 0.8))),
    )  # fmt: skip
