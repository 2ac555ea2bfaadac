"""What changes and fails during the load, each to its end: afterwards everything is as it should be again."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping

from benchmarks.endurance.hour.behind import MODELS, Behind
from benchmarks.endurance.hour.instances import Instance, Instances
from benchmarks.endurance.hour.load import Load
from benchmarks.harness.errors import BenchmarkFailed

CERTIFICATE, KEYS, MODEL, KILL, VAULT = "certificate", "keys", "model", "kill", "vault"

# How long one of two instances is gone; how long Key Vault takes for an answer, and for how long it does.
GONE_SECONDS, SLOW_SECONDS, SLOW_FOR = 1.0, 2.0, 8.0

ALL: Mapping[str, str] = {
    CERTIFICATE: "A new certificate is stored in Key Vault; the app's timer has the control plane deploy it, verifies"
    " it, and drops the old pin. By turns the service takes it without a break, and by a restart that drops all"
    " connections",
    KEYS: "`POST /api/rotation` with `rotate_keys`: the secondary and the primary key are regenerated and stored, one"
    " after the other, so that there is always one that the gateway has read",
    MODEL: "The control plane deploys the other of two versions: the service ends, which drops all connections, and"
    " starts again at the same port",
    KILL: f"Of two instances at two addresses, one is killed (`SIGKILL`) under load, and started again after"
    f" {GONE_SECONDS:g} s; when it answers again, the other one is",
    VAULT: f"For {SLOW_FOR:g} s, Key Vault takes {SLOW_SECONDS:g} s for each answer",
}

_LIMIT, _PAUSE = 60.0, 0.2


class Disturbances:
    """Each is a method; those that differ from turn to turn count their turns."""

    def __init__(self, behind: Behind, instances: Instances, load: Load) -> None:
        self._behind = behind
        self._instances = instances
        self._load = load
        self._swaps = itertools.cycle(("hot", "restart"))
        self._models = itertools.cycle(reversed(MODELS))
        self.each: Mapping[str, Callable[[], Awaitable[None]]] = {
            CERTIFICATE: self._rotate_certificate,
            KEYS: self._rotate_keys,
            MODEL: self._change_model,
            KILL: self._kill_instances,
            VAULT: self._slow_vault,
        }

    async def until_steady(self) -> None:
        """Wait until the certificate is verified, and pinned alone."""

        async def is_steady() -> bool:
            return bool((await self._behind.rotation())["phase"] == "steady")

        await _until(is_steady, "the rotation is steady")

    async def _rotate_certificate(self) -> None:
        """By turns without a break, and with a restart of the service, which drops all connections."""
        await self._behind.set_swap(next(self._swaps))
        wanted = await self._behind.store_certificate()

        async def is_rotated() -> bool:
            status = await self._behind.rotation()
            served = status["served"]
            return bool(status["phase"] == "steady" and served and served["fingerprint"] == wanted)

        await _until(is_rotated, "the certificate is rotated")

    async def _rotate_keys(self) -> None:
        before = (await self._behind.rotation())["keys"]

        async def are_rotated() -> bool:
            keys = (await self._behind.rotation())["keys"]
            return bool(
                keys
                and keys["rotation"] == "idle"
                and all(keys[kind]["version"] != before[kind]["version"] for kind in ("primary", "secondary"))
            )

        await _until(self._behind.request_new_keys, "the rotation of the keys is accepted")
        await _until(are_rotated, "both keys are rotated")

    async def _change_model(self) -> None:
        """The control plane restarts the service with the other version."""
        model = next(self._models)
        await self._behind.deploy_model(model.id)

        async def is_seen() -> bool:
            return self._load.model_version == str(model.version)

        await _until(is_seen, f"version {model.version} answers")

    async def _kill_instances(self) -> None:
        """One after the other, the second only when the first one answers again."""
        for instance in self._instances.each:
            await instance.kill()
            await asyncio.sleep(GONE_SECONDS)
            calls = instance.calls
            await instance.start()

            async def answers(instance: Instance = instance, calls: int = calls) -> bool:
                return instance.calls > calls

            await _until(answers, "a killed instance answers again")

    async def _slow_vault(self) -> None:
        await self._behind.set_vault_fault({"mode": "slow", "delay": SLOW_SECONDS})
        try:
            await asyncio.sleep(SLOW_FOR)
        finally:
            await self._behind.set_vault_fault(None)


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition.

    Raises:
        BenchmarkFailed: it does not come true.
    """
    limit = time.monotonic() + _LIMIT
    while not await condition():
        if time.monotonic() > limit:
            raise BenchmarkFailed(f"After {_LIMIT:g} s it is still not so that {what}.")
        await asyncio.sleep(_PAUSE)
