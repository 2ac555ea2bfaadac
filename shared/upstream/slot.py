"""One live channel a service, replaced without interruption when a pin is added, and at once when one is removed.

A channel never notices new pins: it keeps the roots that it was made with, also when it reconnects. So new pins get a
new channel; once it is connected, new calls use it, and the old one closes after its last call:

    (none)              -> live                                  the first call
    live                -> live + replacement                    pins were added: the replacement connects
    live                -> another is live, old is draining      a pin was removed: no more calls over the old one
    live + replacement  -> replacement is live, old is draining  the replacement is connected
    live + replacement  -> live                                  it did not connect: the old one stays, retried later
    draining            -> closed                                the last call ended, by its deadline at the latest
"""

import asyncio
from typing import NamedTuple

from shared.credentials.pins import Pins
from shared.telemetry import log, metrics
from shared.upstream.channel import CONNECT_SECONDS, Channel, Target

# Seconds between two attempts to connect a replacement.
RETRY_SECONDS = 2.0


class ChannelSlot:
    """Holds the live channel of one service and worker; belongs to one event loop.

    Callers pass the newest pins that are known: older ones would replace a newer channel by an outdated one.
    """

    # withdrawn    the pins whose removal replaced the live channel's predecessor, until a call has succeeded
    # _live         the channel that new calls use; None before the first
    # _replacement  a channel for other pins that is being connected in the background; None where none is needed
    # _retry_at     when a call may start the next replacement, after one that did not connect
    # _tasks        replacements and drains in progress, kept from the garbage collector

    def __init__(self, target: Target, service: str = "") -> None:
        self._target = target
        self._service = service
        self.withdrawn: tuple[str, ...] = ()
        self._live: Channel | None = None
        self._replacement: _Replacement | None = None
        self._retry_at = 0.0
        self._tasks: set[asyncio.Task[object]] = set()

    def channel(self, pins: Pins | None) -> Channel:
        """The channel for one call, to be entered.

        Added ``pins`` start a replacement, and this call uses the live channel; removed ones replace it at once.
        """
        live = self._live
        if live is None:
            live = self._live = Channel(self._target, pins)
        elif live.pins is not pins and live.pins != pins:
            if removed := _removed(live, pins):
                live = self._withdraw(live, removed, pins)
            elif asyncio.get_running_loop().time() >= self._retry_at:
                self._replace(pins)
        return live

    def has(self, pins: Pins | None) -> bool:
        """Whether the live channel trusts exactly these pins."""
        return self._live is not None and self._live.pins == pins

    async def renew(self, pins: Pins | None) -> bool:
        """Replace the channel by one for ``pins`` and wait for it; False where it did not connect."""
        live = self._live
        if live is not None and (removed := _removed(live, pins)):
            with self._withdraw(live, removed, pins) as channel:
                return await channel.connected(CONNECT_SECONDS) and self.has(pins)
        if not self.has(pins):
            # The replacement goes on for other calls if this one is cancelled.
            await asyncio.wait({self._replace(pins)})
        return self.has(pins)

    @property
    def state(self) -> str:
        """The live channel's state, by gRPC's name; ``none`` before the first call."""
        return "none" if self._live is None else self._live.state

    async def close(self) -> None:
        """Close at once, with the calls in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._live is not None:
            await self._live.close()
            self._live = None

    def __repr__(self) -> str:
        return f"<ChannelSlot live={self._live!r}{', replacement' if self._replacement else ''}>"

    def _withdraw(self, live: Channel, removed: tuple[str, ...], pins: Pins | None) -> Channel:
        """Replace the live channel by one that no longer trusts what was removed, connected or not."""
        log.warning("trust was withdrawn from %s: calls use a new connection", short(removed))
        if self._replacement is not None:
            self._replacement.task.cancel()
            self._replacement = None
        self.withdrawn = removed
        metrics.CHANNEL_REPLACEMENTS.add((self._service, "removed"))
        self._live = Channel(self._target, pins)
        self._keep(asyncio.create_task(live.drain()))
        return self._live

    def _replace(self, pins: Pins | None) -> asyncio.Task[None]:
        replacement = self._replacement
        if replacement is not None and replacement.pins != pins:
            replacement.task.cancel()
            replacement = None
        if replacement is None:
            replacement = _Replacement(pins, self._keep(asyncio.create_task(self._connect(pins))))
            self._replacement = replacement
            replacement.task.add_done_callback(self._ended)
        return replacement.task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._replacement is not None and self._replacement.task is task:
            self._replacement = None

    async def _connect(self, pins: Pins | None) -> None:
        channel = Channel(self._target, pins)
        try:
            connected = await channel.connected(CONNECT_SECONDS)
        except asyncio.CancelledError:
            await channel.close()
            raise
        if not connected:
            self._retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS
            log.warning("a channel with the new pins does not connect; the old one stays in use: %r", pins)
            await channel.close()
            metrics.CHANNEL_REPLACEMENTS.add((self._service, "failed"))
            return
        metrics.CHANNEL_REPLACEMENTS.add((self._service, "added"))
        old, self._live = self._live, channel
        if old is not None:
            self._keep(asyncio.create_task(old.drain()))

    def _keep[T](self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _removed(live: Channel, pins: Pins | None) -> tuple[str, ...]:
    """The fingerprints that the live channel trusts, and that are no longer among the pins."""
    return () if live.pins is None or pins is None else live.pins.without(pins)


def short(fingerprints: tuple[str, ...]) -> str:
    """Certificates, for messages."""
    several = f" and {len(fingerprints) - 3} more" if len(fingerprints) > 3 else ""
    return f"{', '.join(fingerprint[:16] for fingerprint in fingerprints[:3])}{several}"


class _Replacement(NamedTuple):
    """The pins of a channel that is being connected, and the task that connects it."""

    pins: Pins | None
    task: asyncio.Task[None]
