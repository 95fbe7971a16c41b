"""Post events to a webhook, as the vendor does.

Here: the two documented envelopes and the POST. Not here: which dataset changed (see state).
"""

import uuid
from dataclasses import dataclass, field
from typing import Literal, get_args

import requests

from qt_pipeline.errors import PermanentError, TransientError
from qt_pipeline.values import utc_now

Envelope = Literal["guide", "reference"]
ENVELOPES: tuple[Envelope, ...] = get_args(Envelope)

_TIMEOUT_SECONDS = (5.0, 30.0)


class NoWebhookError(PermanentError):
    """An event should be fired and nobody has said where to."""


class WebhookUnreachableError(TransientError):
    """The webhook gave no answer at all."""


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What the webhook answered to one event: the HTTP status and the JSON body, None where it was not JSON."""

    status: int
    body: object = field(repr=False)


def dataset_updated(dataset_id: str, envelope: Envelope = "guide") -> dict[str, object]:
    """A new `DatasetUpdated` event, in the envelope of the vendor's Azure guide or of its events reference."""
    id_key, name_key = ("id", "name") if envelope == "guide" else ("eventId", "eventName")
    return {
        id_key: str(uuid.uuid4()),
        name_key: "DatasetUpdated",
        "created": utc_now().isoformat(timespec="milliseconds"),
        "payload": {"datasetId": dataset_id, "eventName": "DatasetUpdated"},
    }


def post_event(url: str, body: bytes) -> WebhookResponse:
    """Post one event and return the webhook's answer, whatever its status.

    Raises:
        WebhookUnreachableError: nobody answered in time.
    """
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between two processes of one machine
        try:
            answer = session.post(
                url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # `from None` and the bare type: the text of the original repeats the URL, and with it the webhook's token.
            raise WebhookUnreachableError(
                f"The webhook gave no answer ({type(error).__name__}).", hint="Start the relay, then fire again."
            ) from None
    try:
        return WebhookResponse(answer.status_code, answer.json())
    except requests.JSONDecodeError:
        return WebhookResponse(answer.status_code, None)
