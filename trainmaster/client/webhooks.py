"""What the client does about webhooks."""

from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import quote

from trainmaster.client.shapes import NewWebhook, WebhookView


class Webhooks:
    """Webhooks, for administrators. Methods raise ApiError and Unreachable."""

    def __init__(self, json: Callable[..., dict[str, Any]]) -> None:
        self._json = json

    def all(self) -> list[WebhookView]:
        """Return the webhooks, oldest first."""
        return cast("list[WebhookView]", self._json("GET", "/webhooks")["items"])

    def create(self, url: str, events: Sequence[str] = ()) -> NewWebhook:
        """Have events of these names, or all, posted to an address; the secret is shown this once."""
        return cast("NewWebhook", self._json("POST", "/webhooks", body={"url": url, "events": list(events)}))

    def delete(self, webhook_id: str) -> WebhookView:
        """Post nothing more."""
        return cast("WebhookView", self._json("DELETE", f"/webhooks/{quote(webhook_id, safe='')}"))

    def replay(self, webhook_id: str, from_seq: int) -> WebhookView:
        """Post again from an event on; a dead webhook is alive after that."""
        path = f"/webhooks/{quote(webhook_id, safe='')}/replay"
        return cast("WebhookView", self._json("POST", path, body={"from_seq": from_seq}))
