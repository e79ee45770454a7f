"""Flows x' = f(x): the Runge-Kutta method, forecasts, and points on an attractor. The fields f are in `fields`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from gp.lab.data.dataset import TEST_POINTS, TRAIN_POINTS, Array, Raw, Split
from gp.lab.data.sampling import Box, Range

Field = Callable[..., Array]
# Of a forecast, whatever its horizon: horizons are so short that half the step changes no target by 1e-6 of its deviation.
FORECAST_STEPS: Final = 64
# How an attractor's points are made; the transient and the spacing between two records are counted in steps.
_TRAJECTORIES, _TRANSIENT, _RECORDS, _SPACING = 1024, 800, 6, 40


@dataclass(frozen=True, slots=True)
class Flow:
    """A field with its parameters."""

    field: Field
    parameters: tuple[float, ...]

    def after(self, states: Array, time: float, steps: int) -> Array:
        """The states (dimension, points) after a time, by so many steps of the classical fourth-order Runge-Kutta method."""
        step = time / steps
        for _ in range(steps):
            k1 = self.field(states, *self.parameters)
            k2 = self.field(states + step / 2 * k1, *self.parameters)
            k3 = self.field(states + step / 2 * k2, *self.parameters)
            k4 = self.field(states + step * k3, *self.parameters)
            states = states + step / 6 * (k1 + 2 * (k2 + k3) + k4)
        return states


@dataclass(frozen=True, slots=True)
class Forecast:
    """The function from states (points, dimension) to one coordinate (points,) after a time."""

    flow: Flow
    time: float
    coordinate: int

    @property
    def when(self) -> str:
        """How far ahead, for people; time is in the units of the flow."""
        return f"after {self.time:g}"

    def __call__(self, x: Array) -> Array:
        result: Array = self.flow.after(x.T, self.time, FORECAST_STEPS)[self.coordinate]
        return result


@dataclass(frozen=True, slots=True)
class Attractor:
    """The set that a flow settles on, from anywhere in the box `start`; `step` is fine enough to stay on it."""

    flow: Flow
    start: Box
    step: float

    def points(self) -> Array:
        """States (6144, dimension) on the attractor: 1024 trajectories, each seen 6 times after a transient. Always the same."""
        return _points(self)


@dataclass(frozen=True, slots=True)
class AttractorSampling:
    """States on an attractor, chosen by the range of one of their coordinates, and a coordinate after a time.

    The generator chooses among the attractor's points; the same state never occurs twice in a data set.
    """

    attractor: Attractor
    chosen_by: int
    train: Range
    outside: Range
    time: float
    coordinate: int

    def __call__(self, rng: np.random.Generator) -> Raw:
        states = self.attractor.points()
        forecast = Forecast(self.attractor.flow, self.time, self.coordinate)

        def choose(interval: Range, count: int) -> Array:
            rows = np.flatnonzero(interval.contains(states[:, self.chosen_by]))
            chosen: Array = states[rng.choice(rows, count, replace=False)]
            return chosen

        inside_range, outside = choose(self.train, TRAIN_POINTS + TEST_POINTS), choose(self.outside, TEST_POINTS)
        train, inside = inside_range[:TRAIN_POINTS], inside_range[TRAIN_POINTS:]
        return Raw(*(Split(x, forecast(x)) for x in (train, inside, outside)))


@functools.cache
def _points(attractor: Attractor) -> Array:
    rng = np.random.default_rng(0)
    states = np.stack([interval.sample(rng, _TRAJECTORIES) for interval in attractor.start])
    states = attractor.flow.after(states, _TRANSIENT * attractor.step, _TRANSIENT)
    records = []
    for _ in range(_RECORDS):
        states = attractor.flow.after(states, _SPACING * attractor.step, _SPACING)
        records.append(states.T)
    return np.concatenate(records)
