"""Which values of an output are refused, in small outputs and in large ones."""

import numpy as np
import pytest

from shared.errors import ServiceAnswerNotFinite
from shared.upstream.codecs import Output
from shared.upstream.codecs.outputs import finite

SIZES = pytest.mark.parametrize("size", [1, 1000, 10_001])


@SIZES
@pytest.mark.parametrize("value", [0, -1e-45, 3e38, -3e38])
def test_any_finite_value_is_accepted(size: int, value: float) -> None:
    output = Output(np.full((1, size), value, np.float32), None)

    assert finite(output) is output


@SIZES
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_other_value_is_enough_to_refuse_it(size: int, value: float) -> None:
    values = np.zeros((1, size), np.float32)
    values[0, -1] = value

    with pytest.raises(ServiceAnswerNotFinite):
        finite(Output(values, None))
