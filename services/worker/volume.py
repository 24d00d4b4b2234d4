"""Publishing into the side streams METRICS and LOGS: again until acknowledged, each message stored once."""

import logging
import uuid

import nats.errors
from nats.aio.client import Client

from services.worker.backoff import Backoff

PUBLISH_TIMEOUT_S = 2.0

_MESSAGE_ID = "Nats-Msg-Id"  # a repetition with the same id is dropped by the broker
_log = logging.getLogger(__name__)


async def store(client: Client, subject: str, body: bytes) -> None:
    """Publish a message and return when its stream has it, however long the broker is away.

    One that is larger than the broker ever takes is given up.
    """
    message_id = uuid.uuid4().hex
    backoff = Backoff()
    while True:
        try:
            await client.jetstream().publish(
                subject, body, timeout=PUBLISH_TIMEOUT_S, headers={_MESSAGE_ID: message_id}
            )
        except nats.errors.MaxPayloadError:
            _log.error("message given up: too large", extra={"subject": subject, "bytes": len(body)})
            return
        except (nats.errors.Error, OSError) as error:
            _log.warning("publish failed, trying again", extra={"subject": subject, "error": repr(error)})
            await backoff.pause()
        else:
            return
