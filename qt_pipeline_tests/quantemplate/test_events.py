import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.quantemplate import DATASET_UPDATED, PIPELINE_COMPLETED, Event, InvalidEventError, parse_event
from qt_pipeline.values import is_dataset_id

UPDATED = {
    "id": "7d3c",
    "name": "DatasetUpdated",
    "created": "2021-05-06T10:11:12Z",
    "payload": {"datasetId": "d-1", "eventName": "DatasetUpdated"},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["id", "eventId", "name", "eventName", "created", "payload"])
payloads = st.fixed_dictionaries(
    {}, optional={key: json_values | st.just("d-1") for key in ("datasetId", "eventName", "pipelineId", "status")}
)
names = st.sampled_from([DATASET_UPDATED, PIPELINE_COMPLETED, "Other"])
almost_events = st.dictionaries(keys, json_values | names | payloads).map(json.dumps).map(str.encode)


def body(**changes: object) -> bytes:
    return json.dumps(UPDATED | changes).encode()


def without(key: str, **changes: object) -> bytes:
    return json.dumps({name: value for name, value in (UPDATED | changes).items() if name != key}).encode()


def test_a_dataset_updated_event_of_the_azure_guide_is_read() -> None:
    assert parse_event(body()) == Event("7d3c", DATASET_UPDATED, "2021-05-06T10:11:12Z", dataset_id="d-1")


def test_a_pipeline_completed_event_of_the_events_reference_is_read() -> None:
    sent = {
        "eventId": "e-9",
        "eventName": "PipelineCompleted",
        "created": "x",
        "payload": {"pipelineId": "p-1", "pipelineExecutionId": "e-1", "status": "Succeeded"},
    }
    assert parse_event(json.dumps(sent).encode()) == Event(
        "e-9", PIPELINE_COMPLETED, "x", pipeline_id="p-1", pipeline_execution_id="e-1", status="Succeeded"
    )


@given(
    event_id=st.uuids().map(str),
    name=names,
    created=st.none() | st.datetimes().map(str),
    payload=st.fixed_dictionaries({"datasetId": st.from_regex(r"[a-z][a-z0-9-]{0,40}", fullmatch=True)}),
)
def test_both_envelopes_give_the_same_event(event_id: str, name: str, created: object, payload: object) -> None:
    azure_guide = {"id": event_id, "name": name, "created": created, "payload": payload}
    reference = {"eventId": event_id, "eventName": name, "created": created, "payload": payload}
    assert parse_event(json.dumps(azure_guide).encode()) == parse_event(json.dumps(reference).encode())


@given(st.binary() | almost_events)
def test_any_bytes_are_an_event_or_not_an_event_and_nothing_else(sent: bytes) -> None:
    try:
        event = parse_event(sent)
    except InvalidEventError:
        return
    assert event.name
    assert event.event_id
    assert event.name != DATASET_UPDATED or (event.dataset_id is not None and is_dataset_id(event.dataset_id))
    assert all(text is None or (text.isprintable() and len(text) <= 200) for text in _texts(event))


def _texts(event: Event) -> list[str | None]:
    return [event.event_id, event.name, event.created, event.dataset_id, event.pipeline_id, event.status]


def test_the_type_may_stand_in_the_payload_alone() -> None:
    assert parse_event(without("name")) == parse_event(body())


def test_the_name_of_the_envelope_wins() -> None:
    assert parse_event(body(name="Other", eventName="DatasetUpdated")).name == "Other"


def test_an_event_without_id_is_known_by_the_hash_of_its_body() -> None:
    first, again, other = (parse_event(without("id", created=created)) for created in ("a", "a", "b"))
    assert first.event_id.startswith("sha256:")
    assert first == again
    assert first.event_id != other.event_id


def test_an_unknown_type_is_an_event_and_its_payload_is_not_looked_into() -> None:
    assert parse_event(body(name="OrganisationRenamed", payload={"datasetId": 5})) == replace(
        parse_event(body()), name="OrganisationRenamed", dataset_id=None
    )


def test_a_creation_time_is_kept_as_sent_whatever_its_format() -> None:
    assert parse_event(body(created=1620295872)).created == "1620295872"
    assert parse_event(without("created")).created is None


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse_event(b"\xef\xbb\xbf" + body()) == parse_event(body())


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"name=DatasetUpdated", id="a form"),
        pytest.param(b"\xff\xfe{}", id="not UTF-8"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="no type"),
        pytest.param(b"[" * 100_000, id="nested too deeply"),
        pytest.param(b'{"created": NaN, "name": "Other"}', id="NaN"),
        pytest.param(b'{"name": "Other", "x": ' + b"9" * 5000 + b"}", id="an endless number"),
        pytest.param(body(payload=None), id="no payload"),
        pytest.param(body(payload=["d-1"]), id="a list as payload"),
        pytest.param(body(payload={}), id="no dataset id"),
        pytest.param(body(payload={"datasetId": 5}), id="a number as dataset id"),
        pytest.param(body(payload={"datasetId": "../d-1"}), id="a path as dataset id"),
        pytest.param(body(payload={"datasetId": "d-" + "1" * 100}), id="a dataset id too long"),
        pytest.param(body(id=5), id="a number as event id"),
        pytest.param(body(id="x" * 201), id="an event id too long"),
        pytest.param(body(name={"type": "Other"}), id="an object as type"),
        pytest.param(body(name="Other\nforged log line"), id="a line break in the type"),
        pytest.param(body(id="\ud800"), id="half a surrogate pair"),
        pytest.param(body(created={"seconds": 1}), id="an object as time"),
        pytest.param(body(created=True), id="a boolean as time"),
    ],
)
def test_what_is_not_an_event_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidEventError):
        parse_event(sent)


def test_a_refusal_does_not_quote_the_body() -> None:
    with pytest.raises(InvalidEventError) as refusal:
        parse_event(b'{"name": "DatasetUpdated", "payload": {"datasetId": "Jane Doe"}}')
    assert "Jane" not in str(refusal.value)
