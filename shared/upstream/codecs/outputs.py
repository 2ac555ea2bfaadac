"""The checks of an output that every codec makes."""

import math

import numpy as np

from shared.errors import ServiceAnswerInvalid, ServiceAnswerNotFinite
from shared.settings import OutputKind, ServiceSettings, prefix
from shared.upstream.codecs.interface import MAX_CLASSES, Output

# Values up to this number are multiplied without other threads.
_FEW = 10_000


def finite(output: Output) -> Output:
    """The output, all of whose values are finite.

    Raises:
        ServiceAnswerNotFinite: some are not.
    """
    values = output.values
    # The sum of the squares, for which numpy needs half the time, is finite only if all are; large ones may overflow.
    if values.size <= _FEW and math.isfinite(np.vdot(values, values)):
        return output
    if not np.isfinite(values).all():
        raise ServiceAnswerNotFinite("The output contains values that are not finite (NaN or infinity).")
    return output


def with_rows(output: Output, rows: int) -> Output:
    """The output for that many inputs: ``[rows, ...]``.

    Raises:
        ServiceAnswerInvalid: it is for another number.
    """
    if output.values.shape[:1] != (rows,):
        raise ServiceAnswerInvalid(f"The output's shape is {list(output.values.shape)}; [{rows}, ...] is needed.")
    return output


def classified(output: Output, service: ServiceSettings) -> Output:
    """The scores of one image, ``[classes]``, of an output ``[1, classes]``.

    Raises:
        ServiceAnswerInvalid: it has another shape, as that of a model that is no classifier, or too many classes.
    """
    values = output.values
    if values.ndim > 2 and service.output is OutputKind.CLASSES:
        raise ServiceAnswerInvalid(
            f"{prefix(service.name)}OUTPUT is classes, and the output's shape is {list(values.shape)}; [1, classes] is "
            "needed. Set it to raw for what is no classifier, as features or boxes, or to scores for the values alone."
        )
    if values.ndim < 2 or values.shape[0] != 1:
        raise ServiceAnswerInvalid(f"The output's shape is {list(values.shape)}; [1, classes] is needed.")
    if values.size > MAX_CLASSES:
        raise ServiceAnswerInvalid(f"The output has {values.size} classes; {MAX_CLASSES} are accepted.")
    return Output(values.reshape(-1), output.version)
