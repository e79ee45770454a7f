"""Forecasts of the selection set: systems of the two other sets with other parameters, or maps after more steps."""

from __future__ import annotations

import math
from typing import Final

from gp.lab.data import fields, maps
from gp.lab.data.chaos import DOUBLE_PENDULUM, LORENZ_START, in_box, on_attractor
from gp.lab.data.dataset import Instance
from gp.lab.data.flows import Attractor, Flow, Forecast
from gp.lab.data.maps import Iterate
from gp.lab.data.sampling import Range

_SLOW: Final = Range(-1.0, 1.0)
_UNIT: Final = Range(0.0, 1.0)
_PHASE: Final = Range(0.0, 2 * math.pi)


def selection() -> tuple[Instance, ...]:
    """The systems for selection: flows on their attractor, flows in a box, maps in a box."""
    return (*_attractors(), *_flows(), *_maps())


def _attractors() -> tuple[Instance, ...]:
    lorenz = Attractor(Flow(fields.lorenz, (10.0, 35.0, 8 / 3)), LORENZ_START, step=0.01)
    roessler = Attractor(Flow(fields.roessler, (0.15, 0.2, 10.0)), (Range(-12.0, -6.0), Range(-6.0, 6.0), Range(0.0, 0.1)), step=0.04)
    chen = Attractor(Flow(fields.chen, (35.0, 3.0, 27.0)), (Range(-10.0, 10.0), Range(-10.0, 10.0), Range(10.0, 20.0)), step=0.003)
    halvorsen = Attractor(Flow(fields.halvorsen, (1.3,)), (Range(-2.0, -1.0), Range(-1.0, 0.0), Range(-1.0, 0.0)), step=0.01)
    thomas = Attractor(Flow(fields.thomas, (0.1,)), (_SLOW, Range(-2.0, 2.0), Range(-3.0, 3.0)), step=0.1)
    lorenz_50 = Attractor(Flow(fields.lorenz, (10.0, 50.0, 8 / 3)), LORENZ_START, step=0.008)
    return (
        on_attractor("lorenz-35-y", "x' = 10 (y - x), y' = x (35 - z) - y, z' = x y - 8/3 z", lorenz, "y", 0.1,
                     chosen_by="y", boundary=0.0, outer=9.0),
        on_attractor("lorenz-35-x", "x' = 10 (y - x), y' = x (35 - z) - y, z' = x y - 8/3 z", lorenz, "x", 0.2,
                     chosen_by="z", boundary=32.0, outer=40.0),
        on_attractor("roessler-10-x", "x' = -y - z, y' = x + 0.15 y, z' = 0.2 + z (x - 10)", roessler, "x", 0.5,
                     chosen_by="y", boundary=2.0, outer=7.0),
        on_attractor("chen-27-x", "x' = 35 (y - x), y' = 27 y - 8 x - x z, z' = x y - 3 z", chen, "x", 0.05,
                     chosen_by="x", boundary=0.0, outer=7.0),
        on_attractor("halvorsen-13-z", "x' = -1.3 x - 4 y - 4 z - y^2 and cyclic", halvorsen, "z", 0.3,
                     chosen_by="x", boundary=-2.0, outer=2.0),
        on_attractor("thomas-10-y", "x' = sin y - 0.1 x and cyclic", thomas, "y", 1.5, chosen_by="x", boundary=0.5, outer=2.0),
        on_attractor("lorenz-50-z", "x' = 10 (y - x), y' = x (50 - z) - y, z' = x y - 8/3 z", lorenz_50, "z", 0.08,
                     chosen_by="x", boundary=0.0, outer=10.0),
    )  # fmt: skip


def _flows() -> tuple[Instance, ...]:
    small, large = Range(-1.1, 1.1), Range(1.1, 1.6, mirrored=True)
    return (
        in_box("double-pendulum-short", "double pendulum, masses 1.5 and 1, lengths 0.7 and 0.9, g = 9.81", DOUBLE_PENDULUM,
               Forecast(Flow(fields.double_pendulum, (1.5, 1.0, 0.7, 0.9, 9.81)), time=0.15, coordinate=2),
               (small, small, _SLOW, _SLOW), (large, large, _SLOW, _SLOW)),
        in_box("driven-pendulum-weak", "theta'' = -sin theta - theta'/4 + 0.7 cos phase, phase' = 0.7", ("theta", "omega", "phase"),
               Forecast(Flow(fields.driven_pendulum, (0.25, 0.7, 0.7)), time=1.2, coordinate=1),
               (Range(-1.6, 1.6), _SLOW, _PHASE), (Range(1.6, 2.3, mirrored=True), _SLOW, _PHASE)),
        in_box("duffing-slow", "x'' = x - x^3 - 0.2 x' + 0.3 cos phase, phase' = 1", ("x", "v", "phase"),
               Forecast(Flow(fields.duffing, (0.2, 0.3, 1.0)), time=1.2, coordinate=1),
               (Range(-1.1, 1.1), _SLOW, _PHASE), (Range(1.1, 1.5, mirrored=True), _SLOW, _PHASE)),
        in_box("van-der-pol-soft", "x'' = 2 (1 - x^2) x' - x + 2 cos phase, phase' = 1.5", ("x", "v", "phase"),
               Forecast(Flow(fields.van_der_pol, (2.0, 2.0, 1.5)), time=0.4, coordinate=1),
               (Range(0.2, 1.4), _SLOW, _PHASE), (Range(-0.4, 0.2), _SLOW, _PHASE)),
    )  # fmt: skip


def _maps() -> tuple[Instance, ...]:
    left, flat = Range(-1.2, 0.3), Range(-0.35, 0.35)
    return (
        in_box("logistic-four", "x' = r x (1 - x)", "xr", Iterate(maps.logistic, (), 4, 0),
               (Range(0.0, 0.5), Range(2.0, 2.7)), (Range(0.0, 0.5), Range(2.7, 3.0))),
        in_box("ricker-three", "x' = x exp(r (1 - x))", "xr", Iterate(maps.ricker, (), 3, 0),
               (Range(0.2, 1.8), Range(0.8, 1.6)), (Range(0.2, 1.8), Range(1.6, 2.0))),
        in_box("sine-three", "x' = r sin(pi x)", "xr", Iterate(maps.sine, (), 3, 0), (_UNIT, Range(0.4, 0.65)), (_UNIT, Range(0.65, 0.75))),
        in_box("gauss-three", "x' = exp(-4.9 x^2) + b", "xb", Iterate(maps.gauss, (4.9,), 3, 0),
               (Range(-0.8, 0.8), Range(-0.9, -0.4)), (Range(-0.8, 0.8), Range(-0.4, -0.15))),
        in_box("henon-09", "x' = 1 - 0.9 x^2 + y, y' = -0.4 x", "xy", Iterate(maps.henon, (0.9, -0.4), 3, 0),
               (left, flat), (Range(0.3, 0.75), flat)),
        in_box("ikeda-80", "z' = 1 + 0.8 z exp(i (0.4 - 6/(1 + |z|^2))), z = x + i y", "xy", Iterate(maps.ikeda, (0.8,), 1, 1),
               (Range(-0.5, 1.0), Range(-1.5, 0.5)), (Range(1.0, 1.5), Range(-1.5, 0.5))),
        in_box("standard-09", "p' = p + 0.9 sin theta, theta' = theta + p'", ("theta", "p"), Iterate(maps.standard, (0.9,), 2, 0),
               (Range(0.0, 3.0), _SLOW), (Range(3.0, 4.0), _SLOW)),
        in_box("duffing-map-20", "x' = y, y' = -0.4 x + 2 y - y^3", "xy", Iterate(maps.duffing_map, (2.0, 0.4), 2, 1),
               (_SLOW, Range(-1.4, 0.7)), (_SLOW, Range(0.7, 1.4))),
        in_box("delayed-logistic-four", "x' = 2 x (1 - y), y' = x", "xy", Iterate(maps.delayed_logistic, (2.0,), 4, 0),
               (Range(0.1, 0.6), Range(0.1, 0.9)), (Range(0.6, 0.9), Range(0.1, 0.9))),
    )  # fmt: skip
