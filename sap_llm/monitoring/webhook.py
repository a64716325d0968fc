"""A webhook: one JSON document by HTTP POST to an address that is a secret.

Belongs here: sending, and never saying where to: chat systems put the password into the path. What is sent, and when it
is tried again, is the caller's.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sap_llm.schema.errors import SapLlmError

_TIMEOUT_SECONDS = 5.0


class WebhookError(SapLlmError):
    """The other side did not take a message."""


class Webhook:
    """One address."""

    def __init__(self, url: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._url, self._timeout = url, timeout_seconds

    @property
    def place(self) -> str:
        """Scheme and host: all of the address that may be shown."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}"

    def post(self, message: Mapping[str, Any]) -> None:
        """Send one message.

        Raises:
            WebhookError: It was not reached in time, or did not answer with success.
        """
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole addresses
        try:
            answer = httpx.post(self._url, json=dict(message), timeout=self._timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._error(type(error).__name__) from None  # its text may quote the address
        if not answer.is_success:
            raise self._error(f"HTTP {answer.status_code}")

    def _error(self, what: str) -> WebhookError:
        return WebhookError(
            f"the webhook did not take a message: {what}",
            where=self.place,
            remedy="Check SAP_LLM_ALERT_WEBHOOK and that this machine reaches it.",
        )
