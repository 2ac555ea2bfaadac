"""The base of every error."""

from typing import ClassVar


class GatewayError(Exception):
    """Base of all; ``members`` are the problem document's extension members, ``retry_after`` is in seconds."""

    slug: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    meaning: ClassVar[str]
    remedy: ClassVar[str | None] = None
    # Seconds after which trying again may help, where that is the remedy and nothing better is known.
    pause: ClassVar[float | None] = None

    def __init__(self, detail: str, *, retry_after: float | None = None, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = self.pause if retry_after is None else retry_after
        self.members = members

    @property
    def is_server_fault(self) -> bool:
        """Whether the cause lies behind the client: worth a line in the log."""
        return self.status >= 500 and self.status != 501
