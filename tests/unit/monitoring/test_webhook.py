"""A webhook against a real server: what arrives, and that the secret in its address never shows."""

import json
import logging
import socket

import pytest

from sap_llm.monitoring.webhook import Webhook, WebhookError
from tests.support.webhook_receiver import receiver

SECRET = "T0KEN-SECRET"


def test_a_message_arrives_as_json_and_no_log_shows_the_address(caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as received, caplog.at_level(logging.DEBUG):
        Webhook(f"{received.url}/hooks/{SECRET}").post({"text": "loss 3.2 €", "step": 7})
    assert received.bodies == [{"text": "loss 3.2 €", "step": 7}]
    assert received.paths == [f"/hooks/{SECRET}"]
    assert SECRET not in caplog.text


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refusal_is_an_error_without_the_secret(status: int) -> None:
    with receiver(status=status) as received, pytest.raises(WebhookError) as caught:
        Webhook(f"{received.url}/hooks/{SECRET}").post({"text": "x"})
    assert f"HTTP {status}" in str(caught.value)
    assert "http://127.0.0.1" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_server_that_is_not_there_is_an_error_without_the_secret() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WebhookError) as caught:
        Webhook(f"http://user:{SECRET}@127.0.0.1:{port}/{SECRET}").post({"text": "x"})
    assert "ConnectError" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert json.dumps(caught.value.where) == '"http://127.0.0.1"'
