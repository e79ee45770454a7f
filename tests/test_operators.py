"""The operator table: definition, derivative and every backend's spelling, one test per operator, generated from the table."""

from typing import Any

import numpy as np
import pytest
import torch
from block_evaluator import evaluate as evaluate_block
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from tolerances import assert_same

from bench.high_precision import MP
from codegen.derivative import Result, derivative
from codegen.graph import apply, constant, source
from codegen.instructions import Block, Span
from codegen.numpy import evaluate
from codegen.operators import OPERATORS, Operator
from codegen.torch import print_torch

POINTS = [-30.0, -4.5, -2.5, -1.75, -0.9, -0.3, -1e-3, 0.0, 1e-4, 0.02, 0.45, 0.7, 1.25, 2.0, 3.5, 12.0, 40.0]
REAL = [o for o in OPERATORS.values() if not o.boolean_result]
DOMAIN = {
    "sqrt": lambda a: a >= 0, "root": lambda a: a >= 0, "rsqrt": lambda a: a > 0, "log": lambda a: a > 0, "log1p": lambda a: a > -1,
    "asin": lambda a: abs(a) <= 1, "acos": lambda a: abs(a) <= 1, "acosh": lambda a: a >= 1, "normal_cdf": lambda a: a > -15,
    "atanh": lambda a: abs(a) < 1,
    "div": lambda a, b: b != 0, "pow": lambda a, b: a > 0, "ipow": lambda a: a != 0,
}  # fmt: skip


def arguments(operator: Operator) -> list[tuple[float, ...]]:
    """Argument tuples inside the operator's domain."""
    if operator.arity == 1:
        tuples = [(a,) for a in POINTS]
    elif operator.arity == 2:
        tuples = [(a, b) for a in POINTS[::2] for b in POINTS[1::3]]
    else:
        tuples = [(a, b, c) for a in POINTS[::3] for b in (-1.0, 0.3) for c in (0.5, 2.0)]
    return [t for t in tuples if DOMAIN.get(operator.name, lambda *_: True)(*t)]


def attributes(operator: Operator) -> list[int | None]:
    return [3, -2, 5] if operator.name == "ipow" else [None]


def inputs(operator: Operator) -> list[Any]:
    return [source(name, Span.ELEMENT, boolean=b) for name, b in zip("abc", operator.boolean_arguments, strict=False)]


def columns(operator: Operator) -> dict[str, np.ndarray]:
    grid = np.array(arguments(operator)).T
    return {name: (column > 0 if b else column) for name, column, b in zip("abc", grid, operator.boolean_arguments, strict=False)}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_definition_against_mpmath(operator):
    for attribute in attributes(operator):
        extra = () if attribute is None else (attribute,)
        values = columns(operator)
        with np.errstate(all="ignore"):
            actual = np.asarray(operator.reference(*values.values(), *extra), dtype=np.float64)
        for k in range(len(actual)):
            point = [bool(v[k]) if v.dtype == bool else mpf(float(v[k])) for v in values.values()]
            expected = MP[operator.name](*point, *extra)
            assert abs(actual[k] - float(expected)) <= 32 * np.finfo(np.float64).eps * max(abs(float(expected)), 1e-300), (operator, point)


@pytest.mark.parametrize("operator", REAL, ids=lambda o: o.name)
def test_derivative_against_mpmath(operator):
    """The rule at points away from kinks, against mpmath's numerical derivative at 50 digits."""
    nodes = inputs(operator)
    for attribute in attributes(operator):
        extra = () if attribute is None else (attribute,)
        node = apply(operator, *nodes, attribute=attribute)
        for k, leaf in enumerate(nodes):
            if leaf.boolean:
                continue
            slope = derivative(node, leaf)
            for point in arguments(operator):
                if _near_kink(operator, point):
                    continue
                values = {n: np.float64(p > 0 if b else p) for n, p, b in zip("abc", point, operator.boolean_arguments, strict=False)}
                actual = float(
                    evaluate(
                        [slope], {n: (bool(v) if b else v) for (n, v), b in zip(values.items(), operator.boolean_arguments, strict=False)}
                    )[0]
                )

                def along(t, point=point, k=k):
                    moved = [(p > 0 if b else mpf(p)) for p, b in zip(point, operator.boolean_arguments, strict=False)]
                    moved[k] = t
                    return MP[operator.name](*moved, *extra)  # noqa: B023

                expected = float(mp.diff(along, mpf(point[k])))
                assert actual == pytest.approx(expected, rel=1e-9, abs=1e-13), (operator, point, k)


def _near_kink(operator: Operator, point: tuple[float, ...]) -> bool:
    whole = operator.name in ("floor", "round") and (2 * point[0]).is_integer()
    edge = operator.name in ("abs", "sign", "cbrt", "sqrt", "root") and point[0] == 0
    tie = operator.name in ("min", "max", "clamp") and len(set(point)) < len(point)
    ends = operator.name in ("acosh", "asin", "acos") and abs(point[0]) == 1
    return whole or edge or tie or ends


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
@pytest.mark.parametrize("float_type", ["f32", "f64"])
def test_kernel_spelling_against_definition(operator, float_type):
    dtype = np.float32 if float_type == "f32" else np.float64
    for attribute in attributes(operator):
        extra = () if attribute is None else (attribute,)
        values = {n: (v if v.dtype == bool else v.astype(dtype)) for n, v in columns(operator).items()}
        block = Block(float_type)
        arguments_ = [block.input(n, Span.ELEMENT, "b" if v.dtype == bool else None) for n, v in values.items()]
        result = operator.kernel(block, *arguments_, *extra)
        actual = evaluate_block(block, values, result)[0]
        with np.errstate(all="ignore"):
            expected = operator.reference(*(v if v.dtype == bool else v.astype(np.float64) for v in values.values()), *extra)
        overflow = np.abs(np.asarray(expected, np.float64)) > np.finfo(dtype).max
        expected = np.where(overflow, np.copysign(np.inf, expected), expected) if not operator.boolean_result else expected
        assert_same(np.asarray(actual), expected, torch.float32 if float_type == "f32" else torch.float64)


@pytest.mark.parametrize("operator", REAL, ids=lambda o: o.name)
def test_torch_spelling_against_definition(operator):
    columns_ = {n: (np.where(v, 1.0, -1.0) if v.dtype == bool else v) for n, v in columns(operator).items()}
    zero = constant(0.0)
    nodes = [source(n, Span.ELEMENT) for n in columns_]
    nodes = [apply(OPERATORS["gt"], n, zero) if b else n for n, b in zip(nodes, operator.boolean_arguments, strict=True)]
    for attribute in attributes(operator):
        result = Result(apply(operator, *nodes, attribute=attribute), Span.ELEMENT)
        text = print_torch([result], [("x", Span.ELEMENT), *((n, Span.ELEMENT) for n in columns_)])
        namespace: dict[str, Any] = {}
        exec(text, namespace)
        tensors = [torch.from_numpy(v) for v in columns_.values()]
        actual = namespace["activation"](torch.zeros(len(tensors[0]), dtype=torch.float64), *tensors).numpy()
        extra = () if attribute is None else (attribute,)
        with np.errstate(all="ignore"):
            assert_same(actual, operator.reference(*columns(operator).values(), *extra), torch.float64)


def test_a_wrong_derivative_would_fail():
    """Negative control: with the rule of another operator the comparison above does not hold."""
    node = apply(OPERATORS["sin"], source("a", Span.ELEMENT))
    wrong = derivative(apply(OPERATORS["cos"], source("a", Span.ELEMENT)), source("a", Span.ELEMENT))
    right = derivative(node, source("a", Span.ELEMENT))
    point = {"a": 0.7}
    expected = float(mp.diff(mp.sin, mpf(0.7)))
    assert float(evaluate([right], point)[0]) == pytest.approx(expected, rel=1e-9)
    assert float(evaluate([wrong], point)[0]) != pytest.approx(expected, rel=1e-3)


@given(st.sampled_from([o for o in REAL if o.arity == 1]))
def test_nan_in_nan_out(operator):
    extra = () if operator.name != "ipow" else (3,)
    with np.errstate(all="ignore"):
        assert np.isnan(operator.reference(np.float64("nan"), *extra))


def test_higher_derivatives_of_sinc_near_zero():
    """Where hand-written code breaks: the sinc term at and near 0, to the second derivative."""
    x = source("a", Span.ELEMENT)
    first = derivative(apply(OPERATORS["sinc"], x), x)
    second = derivative(first, x)
    for point in (0.0, 1e-30, 1e-8, 1e-3, 0.04, 0.06, 0.3):
        exact = [float(mp.diff(lambda t: mp.sinc(mp.pi * t), mpf(point), n)) for n in (1, 2)]
        actual = [float(v) for v in evaluate([first, second], {"a": point})]
        assert actual[0] == pytest.approx(exact[0], rel=1e-9, abs=1e-40)
        assert actual[1] == pytest.approx(exact[1], rel=1e-7)
