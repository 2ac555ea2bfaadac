"""The gateway's identity: access tokens from azure-identity, with the gateway's own error where there is none."""

from typing import Any

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError

from shared.errors import IdentityUnavailable

_RETRY_AFTER = 5.0


class Identity:
    """A credential whose failures cannot be confused with those of the server that the token is for."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """An access token.

        Raises:
            IdentityUnavailable: the credential returns none.
        """
        try:
            return self._credential.get_token(*scopes, **options)
        except (AzureError, ValueError) as error:  # the latter where the endpoint's response is not JSON
            raise IdentityUnavailable("The identity endpoint returned no token.", retry_after=_RETRY_AFTER) from error

    def close(self) -> None:
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()
