"""Faults on demand: what a service does when it is not well, for tests of whoever calls it.

A fault is set in the process by :meth:`FaultSwitch.set`, or from outside by writing a JSON file with the fields of
:class:`Faults` (``{"delay_ms": 500}``); removing the file ends it. Predict calls that were let in suffer from it;
health calls only from ``not_serving``.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import grpc
import numpy as np
from numpy.typing import NDArray

from devstack.fpga.requests import Refusal

Answer = Literal["", "wrong_shape", "nan", "missing_output"]


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong. The default is nothing; several may be at once, and happen in this order.

    ``drop_next``: so many next calls get no answer but the end of every connection. ``hang``: calls are accepted and
    never answered. ``delay_ms``: every call takes so much longer. ``fail_next``: so many next calls are answered with
    the status ``fail_with``. ``answer``: what is wrong with the answers. ``not_serving``: the service calls itself
    unhealthy.
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
            raise ValueError(f"fail_with is {self.fail_with!r}, which names no failure of gRPC")
        if self.answer not in get_args(Answer):
            raise ValueError(f"answer is {self.answer!r}; it can be one of {get_args(Answer)}")


def parse(data: bytes) -> Faults:
    """Read faults from JSON.

    Raises:
        ValueError: it is no JSON object, or has a field that is not known or has another type.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("an object is expected")
    types = {field.name: type(field.default) for field in fields(Faults)}
    for name, value in document.items():
        if name not in types:
            raise ValueError(f"{name!r} is not known; there are {', '.join(types)}")
        if not _fits(value, types[name]):
            raise ValueError(f"{name!r} must be of type {types[name].__name__}")
    return Faults(**document)


class FaultSwitch:
    """The faults in force, and how many calls are still to drop and to fail.

    ``source``, where there is one, is asked at each call for faults that replace them.
    """

    def __init__(self, faults: Faults | None = None, source: Callable[[], Faults | None] | None = None) -> None:
        self._source = source
        self.set(faults or Faults())

    def set(self, faults: Faults) -> None:
        """Put other faults in force; ``Faults()`` ends all."""
        self._faults = faults
        self._drops = faults.drop_next
        self._failures = faults.fail_next

    @property
    def not_serving(self) -> bool:
        self._refresh()
        return self._faults.not_serving

    async def before(self, drop: Callable[[], object]) -> None:
        """Let a call suffer before it is scored; ``drop`` ends every connection.

        Raises:
            Refusal: the call is one that fails.
        """
        self._refresh()
        if self._drops > 0:
            self._drops -= 1
            drop()
            await _forever()
        if self._faults.hang:
            await _forever()
        if self._faults.delay_ms:
            await asyncio.sleep(self._faults.delay_ms / 1000)
        if self._failures > 0:
            self._failures -= 1
            raise Refusal(grpc.StatusCode[self._faults.fail_with], "a fault was asked for")

    def spoil(self, scores: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The answer as the fault makes it; None when the output is to be missing."""
        match self._faults.answer:
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


def _fits(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return isinstance(value, bool) and kind is bool
    return isinstance(value, kind) or (kind is float and isinstance(value, int))


async def _forever() -> None:
    """Until the caller gives up or the server stops: both cancel the call."""
    await asyncio.Event().wait()
