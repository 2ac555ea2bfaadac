"""Finds the numbers of a response without parsing it, once one like it was parsed.

The responses of a service differ only in their numbers: once one has been parsed, the bytes before and after its
numbers are known, and the numbers of any other that has the same bytes there are in the same place.
"""

from typing import NamedTuple

import numpy as np

from shared.upstream.codecs.interface import Output

# Bytes: fewer could occur in a response by chance.
_LEAST_TO_LEARN = 32
# As many as there are batch sizes; more are a service whose responses are never alike.
_MAX_LAYOUTS = 64
# Bytes around the numbers; more would be kept of a response that is like no other.
_MOST_TO_LEARN = 10_000


class Layouts:
    """The known layouts of one service's responses."""

    # _layouts  by the response's length: batches of several sizes differ in it

    def __init__(self) -> None:
        self._layouts: dict[int, _Layout] = {}

    def read(self, response: bytes) -> Output | None:
        """The output of a response with a known layout; None for others."""
        layout = self._layouts.get(len(response))
        if layout is None or not (response.startswith(layout.before) and response.endswith(layout.after)):
            return None
        values = np.frombuffer(response, dtype="<f4", count=layout.size, offset=len(layout.before))
        return Output(values.reshape(layout.shape), layout.version)

    def learn(self, response: bytes, parsed: Output) -> None:
        """Remember where the parsed output's numbers are in the response."""
        numbers = parsed.values.astype("<f4").tobytes()
        if len(numbers) < _LEAST_TO_LEARN or len(response) - len(numbers) > _MOST_TO_LEARN:
            return
        # If they occur more than once, one occurrence could be something else.
        if response.count(numbers) == 1:
            at = response.index(numbers)
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[len(response)] = _Layout(
                response[:at], response[at + len(numbers) :], parsed.values.size, parsed.values.shape, parsed.version
            )


class _Layout(NamedTuple):
    """The bytes around a response's numbers, and their count and shape; the version is part of the other bytes."""

    before: bytes
    after: bytes
    size: int
    shape: tuple[int, ...]
    version: int | str | None
