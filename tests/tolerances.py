"""The one table of tolerances, per dtype: what a backend may differ from the float64 definition.

`relative` is in units of the dtype's rounding step times the number of operations a test's expressions have at most (about 20
steps of 2 ulp); `absolute` is the same share of the largest intermediate value, for sums that cancel.
"""

from typing import NamedTuple

import numpy as np
import torch


class Tolerance(NamedTuple):
    relative: float
    absolute: float


TOLERANCE = {
    torch.float64: Tolerance(1e-11, 1e-11),
    torch.float32: Tolerance(2e-5, 2e-5),
    torch.bfloat16: Tolerance(1.6e-2, 1.6e-2),
    torch.float16: Tolerance(2e-3, 2e-3),
}


def assert_same(actual: np.ndarray, expected: np.ndarray, dtype: torch.dtype, scale: float = 1.0) -> None:
    """First by class (NaN to NaN, signed infinity to signed infinity), then by value; `scale` is the largest intermediate value."""
    actual, expected = np.broadcast_arrays(np.asarray(actual, np.float64), np.asarray(expected, np.float64))
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg="NaN at different places")
    np.testing.assert_array_equal(np.where(np.isinf(actual), actual, 0), np.where(np.isinf(expected), expected, 0))
    finite = np.isfinite(expected)
    relative, absolute = TOLERANCE[dtype]
    np.testing.assert_allclose(actual[finite], expected[finite], rtol=relative, atol=absolute * max(1.0, scale))
