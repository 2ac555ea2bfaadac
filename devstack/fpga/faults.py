"""Fault injection, for tests of the service's callers.

Faults are set in the process by :meth:`FaultSwitch.set`, or from outside by a JSON file with the fields of
:class:`Faults` (``{"delay_ms": 500}``); removing the file ends them. They affect Predict calls with a valid key;
``not_serving`` affects health calls only.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import grpc
import numpy as np
from numpy.typing import NDArray

from devstack import typed_json
from devstack.fpga.requests import Refusal

Answer = Literal["", "wrong_shape", "nan", "missing_output"]


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults, in the order in which a call meets them. The default is none.

    ``drop_next``: the next calls, this many, end every connection instead of being answered. ``hang``: calls are
    accepted and never answered. ``delay_ms``: every call takes this much longer. ``fail_next``: the next calls, this
    many, fail with the status ``fail_with``. ``answer``: what is wrong with the answers. ``not_serving``: the service
    reports that it is unhealthy.
    """

    drop_next: int = 0
    hang: bool = False
    delay_ms: float = 0.0
    fail_next: int = 0
    fail_with: str = "UNAVAILABLE"
    answer: Answer = ""
    not_serving: bool = False

    def __post_init__(self) -> None:
        if self.fail_with not in grpc.StatusCode.__members__ or self.fail_with == "OK":
            raise ValueError(f"fail_with is {self.fail_with!r}, which is not an error status of gRPC")


def parse(data: bytes) -> Faults:
    """Parse faults from JSON.

    Raises:
        ValueError: it is not a JSON object, or a field is unknown or has another type.
    """
    return typed_json.read(Faults, json.loads(data), strict=True, name="faults")


class FaultSwitch:
    """The current faults, and the remaining numbers of calls to drop and to fail.

    ``source``, if there is one, is called at each call for faults that replace them.
    """

    def __init__(self, faults: Faults | None = None, source: Callable[[], Faults | None] | None = None) -> None:
        self._source = source
        self.set(faults or Faults())

    def set(self, faults: Faults) -> None:
        """Replace the faults; ``Faults()`` ends all."""
        self.current = faults
        self._drops = faults.drop_next
        self._failures = faults.fail_next

    @property
    def not_serving(self) -> bool:
        self._refresh()
        return self.current.not_serving

    async def before(self, drop: Callable[[], object]) -> None:
        """Apply the faults that hit a call before it is scored; ``drop`` ends every connection.

        Raises:
            Refusal: the call fails.
        """
        self._refresh()
        if self._drops > 0:
            self._drops -= 1
            drop()
            await _forever()
        if self.current.hang:
            await _forever()
        if self.current.delay_ms:
            await asyncio.sleep(self.current.delay_ms / 1000)
        if self._failures > 0:
            self._failures -= 1
            raise Refusal(grpc.StatusCode[self.current.fail_with], "an injected fault")

    def alter(self, scores: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The scores as the fault changes them; None for a missing output."""
        match self.current.answer:
            case "wrong_shape":
                return scores.reshape(-1)[:-1]
            case "nan":
                return np.full_like(scores, np.nan)
            case "missing_output":
                return None
            case _:
                return scores

    def _refresh(self) -> None:
        if self._source and (replaced := self._source()):
            self.set(replaced)


async def _forever() -> None:
    """Wait until the caller or the stopping server cancels the call."""
    await asyncio.Event().wait()
