"""The vendor's webhook events: both documented envelopes, read into one value.

Here: what counts as an event and which of its fields are kept.
Not here: how an event arrives (see relay), where it is stored (see inbox), what follows from it (see dispatch).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, cast

from qt_pipeline.errors import PermanentError
from qt_pipeline.values import is_dataset_id

DATASET_UPDATED: Final = "DatasetUpdated"
PIPELINE_COMPLETED: Final = "PipelineCompleted"

_MAX_TEXT: Final = 200


class InvalidEventError(PermanentError):
    """A request body is not an event of Quantemplate. The message never quotes the body."""


@dataclass(frozen=True, slots=True)
class Event:
    """A hint that something changed: only its ids are used, the data is downloaded again.

    `event_id` is the sender's, or `sha256:` and the hash of the body if there is none. `created` is kept as sent: its
    format is not specified. The other ids are those documented for the event's type.
    """

    event_id: str
    name: str
    created: str | None = None
    dataset_id: str | None = None
    pipeline_id: str | None = None
    pipeline_execution_id: str | None = None
    status: str | None = None


def parse_event(body: bytes) -> Event:
    """Parse an event in either documented envelope (`id`, `name` or `eventId`, `eventName`).

    An event of an unhandled type is valid too, and its payload is not parsed.

    Raises:
        InvalidEventError: the body is not JSON in UTF-8, has no type, or lacks what its type must carry.
    """
    envelope = _object(_json(body), "body")
    payload = _object(envelope.get("payload") or {}, "payload")
    name = _text(envelope, "name") or _text(envelope, "eventName") or _text(payload, "eventName")
    if name is None:
        raise InvalidEventError("The body names no event type.")
    event_id = _text(envelope, "id") or _text(envelope, "eventId") or f"sha256:{hashlib.sha256(body).hexdigest()}"
    created = _created(envelope)
    if name == DATASET_UPDATED:
        return Event(event_id, name, created, dataset_id=_dataset_id(payload))
    if name == PIPELINE_COMPLETED:
        return Event(
            event_id,
            name,
            created,
            pipeline_id=_text(payload, "pipelineId"),
            pipeline_execution_id=_text(payload, "pipelineExecutionId"),
            status=_text(payload, "status"),
        )
    return Event(event_id, name, created)


def _json(body: bytes) -> object:
    try:
        # Some senders put a byte order mark in front, which JSON itself does not allow.
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # `from None`: the cause would carry the body into logs.
        raise InvalidEventError("The body is not JSON in UTF-8.") from None


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _object(value: object, place: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidEventError(f"The {place} is not a JSON object.")
    return cast("dict[str, object]", value)


def _text(fields: Mapping[str, object], key: str) -> str | None:
    """The text under `key`; None if it is absent, null or empty."""
    value = fields.get(key)
    if value is None or value == "":
        return None
    # Printable: a lone surrogate or a NUL could not be stored, a line break would forge a log line.
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise InvalidEventError(f"The field {key} is not a printable text of at most {_MAX_TEXT} characters.")
    return value


def _created(envelope: Mapping[str, object]) -> str | None:
    value = envelope.get("created")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _text({"created": str(value) if is_number else value}, "created")


def _dataset_id(payload: Mapping[str, object]) -> str:
    dataset_id = _text(payload, "datasetId")
    if dataset_id is None or not is_dataset_id(dataset_id):
        raise InvalidEventError(f"A {DATASET_UPDATED} event needs the id of a dataset in payload.datasetId.")
    return dataset_id
