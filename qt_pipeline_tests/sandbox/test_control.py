import hashlib
import uuid
from collections.abc import Iterator
from datetime import datetime

import pytest

from qt_pipeline.sandbox import SANDBOX_DATASETS, SandboxDataset, SandboxServer, SandboxState
from qt_pipeline_tests.sandbox.conftest import SMALL_CSV, Client, Webhook

LOSSES = SANDBOX_DATASETS[0].id


@pytest.fixture
def heard(client: Client, webhook: Webhook) -> Iterator[Webhook]:
    """A webhook that the sandbox knows."""
    assert client.control("PUT", "webhook", json={"url": webhook.url}).status_code == 204
    yield webhook
    client.server.state.set_webhook(None)


def test_the_list_names_every_dataset_with_its_version_and_hash(client: Client) -> None:
    listed = client.control("GET", "datasets").json()[:3]

    assert [(entry["datasetId"], entry["name"]) for entry in listed] == [(d.id, d.name) for d in SANDBOX_DATASETS]
    body = client.download(LOSSES).content
    assert listed[0]["version"] == 1
    assert listed[0]["bytes"] == len(body)
    assert listed[0]["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "same-site"}, {"Host": "evil.example"}], ids=str
)
def test_no_web_page_steers_the_sandbox_or_reads_of_it(client: Client, headers: dict[str, str]) -> None:
    assert client.control("POST", f"datasets/{LOSSES}/change", headers=headers).status_code == 403
    assert client.control("GET", "datasets", headers=headers).status_code == 403


def test_a_put_makes_a_new_version_of_a_dataset(client: Client, dataset_id: str) -> None:
    answer = client.control("PUT", f"datasets/{dataset_id}", data=b"a\n1\n").json()

    assert answer == {
        "datasetId": dataset_id,
        "version": 2,
        "bytes": 4,
        "sha256": hashlib.sha256(b"a\n1\n").hexdigest(),
    }
    assert client.download(dataset_id).content == b"a\n1\n"


def test_a_put_makes_a_dataset_that_was_not_there(client: Client) -> None:
    assert client.control("PUT", "datasets/d-new", data=b"a\n1\n").json()["version"] == 1
    assert client.download("d-new").content == b"a\n1\n"


def test_a_put_refuses_what_cannot_be_an_id(client: Client) -> None:
    assert client.control("PUT", "datasets/d;drop", data=b"a\n").status_code == 404


@pytest.mark.parametrize("dataset", SANDBOX_DATASETS, ids=lambda dataset: dataset.stem)
def test_each_change_makes_the_next_version_of_any_dataset(dataset: SandboxDataset) -> None:
    with SandboxServer() as server:
        client = Client(server)
        client.sign_in()
        served = [client.download(dataset.id).content]
        for number in (2, 3):
            assert client.control("POST", f"datasets/{dataset.id}/change").json()["version"] == number
            served.append(client.download(dataset.id).content)

    assert len(set(served)) == 3


def test_changes_are_the_same_in_every_sandbox() -> None:
    one, other = (SandboxState(client_id="id", client_secret="secret") for _ in range(2))

    assert one.change(LOSSES) == other.change(LOSSES)


def test_the_csv_route_shows_what_is_served_and_consumes_no_fault(client: Client, dataset_id: str) -> None:
    client.control("PUT", f"datasets/{dataset_id}/faults", json=[{"kind": "html"}])

    shown = client.control("GET", f"datasets/{dataset_id}/csv")

    assert shown.content == SMALL_CSV
    assert client.download(dataset_id).headers["Content-Type"].startswith("text/html")


def test_an_event_is_posted_in_the_guides_envelope(client: Client, heard: Webhook) -> None:
    answer = client.control("POST", f"datasets/{LOSSES}/fire").json()

    assert answer == {"status": 202, "body": {"sequence": 1}}
    (event,) = heard.events
    assert list(event) == ["id", "name", "created", "payload"]
    assert uuid.UUID(event["id"])
    assert event["name"] == "DatasetUpdated"
    assert datetime.fromisoformat(event["created"]).tzinfo is not None
    assert event["payload"] == {"datasetId": LOSSES, "eventName": "DatasetUpdated"}


def test_an_event_can_be_posted_in_the_references_envelope(client: Client, heard: Webhook) -> None:
    client.control("POST", f"datasets/{LOSSES}/fire", params={"envelope": "reference"})

    (event,) = heard.events
    assert list(event) == ["eventId", "eventName", "created", "payload"]
    assert event["eventName"] == "DatasetUpdated"
    assert event["payload"] == {"datasetId": LOSSES, "eventName": "DatasetUpdated"}


def test_another_envelope_is_400_and_nothing_is_changed(client: Client, dataset_id: str, heard: Webhook) -> None:
    for path, options in (("fire", {}), ("change", {"fire": "true"})):
        answer = client.control("POST", f"datasets/{dataset_id}/{path}", params={"envelope": "x", **options})
        assert answer.status_code == 400

    assert heard.bodies == []
    assert client.server.state.version(dataset_id).number == 1


@pytest.mark.parametrize(("method", "path"), [("PUT", ""), ("POST", "/change")])
def test_a_new_version_can_fire_its_event_at_once(
    client: Client, dataset_id: str, heard: Webhook, method: str, path: str
) -> None:
    answer = client.control(method, f"datasets/{dataset_id}{path}", params={"fire": "true"}, data=b"a\n1\n").json()

    assert answer["version"] == 2
    assert answer["delivery"] == {"status": 202, "body": {"sequence": 1}}
    assert [event["payload"]["datasetId"] for event in heard.events] == [dataset_id]


def test_each_event_has_an_id_of_its_own(client: Client, heard: Webhook) -> None:
    for _ in range(2):
        client.control("POST", f"datasets/{LOSSES}/fire")

    assert len({event["id"] for event in heard.events}) == 2


def test_a_raw_event_is_posted_byte_for_byte(client: Client, heard: Webhook) -> None:
    body = b'{"id":"1",  "name":"PipelineCompleted","payload":{}}'

    answer = client.control("POST", "fire", data=body).json()

    assert answer == {"status": 202, "body": {"sequence": 1}}
    assert heard.bodies == [body]


def test_an_event_for_an_unknown_dataset_is_404(client: Client, heard: Webhook) -> None:
    assert client.control("POST", "datasets/d-unknown/fire").status_code == 404
    assert heard.bodies == []


def test_without_a_webhook_nothing_is_fired_and_nothing_is_changed(client: Client, dataset_id: str) -> None:
    answer = client.control("POST", f"datasets/{dataset_id}/change", params={"fire": "true"})

    assert answer.status_code == 409
    assert client.server.state.version(dataset_id).number == 1
    assert client.control("POST", f"datasets/{dataset_id}/fire").status_code == 409


def test_a_webhook_that_is_down_is_502_and_its_url_is_not_repeated(client: Client, heard: Webhook) -> None:
    heard.stop()

    answer = client.control("POST", f"datasets/{LOSSES}/fire")

    assert answer.status_code == 502
    assert "a-secret-path" not in answer.text


@pytest.mark.parametrize("url", ["http://example.com/a-secret-path", "ftp://127.0.0.1/a-secret-path", "a-secret-path"])
def test_a_webhook_beyond_this_machine_is_refused_without_repeating_it(client: Client, url: str) -> None:
    answer = client.control("PUT", "webhook", json={"url": url})

    assert answer.status_code == 400
    assert "a-secret-path" not in answer.text


def test_a_webhook_can_be_forgotten(client: Client, heard: Webhook) -> None:
    client.control("PUT", "webhook", json={"url": None})

    assert client.control("POST", f"datasets/{LOSSES}/fire").status_code == 409
    assert heard.bodies == []


def test_the_request_log_tells_each_download_and_what_became_of_it(client: Client, dataset_id: str) -> None:
    client.control("PUT", f"datasets/{dataset_id}/faults", json=[{"kind": "status", "status": 503}])
    client.download(dataset_id, headers={"X-QT-Trace-Id": "run-1"})
    client.download(dataset_id, headers={"X-QT-Trace-Id": "run-1"})
    client.download(dataset_id, headers={"Authorization": None})
    client.download("d-unknown")

    log = client.control("GET", "requests").json()[-4:]

    keys = ("datasetId", "version", "traceId", "status", "fault")
    assert [tuple(entry[key] for key in keys) for entry in log] == [
        (dataset_id, 1, "run-1", 503, "status"),
        (dataset_id, 1, "run-1", 200, None),
        (dataset_id, None, None, 401, None),
        ("d-unknown", None, None, 404, None),
    ]


def test_an_alert_is_kept_as_it_was_told(client: Client) -> None:
    before = client.control("GET", "alerts").json()
    told = {"version": "1.0", "title": "It fails", "message": "Because.", "type": "failure", "attachments": []}
    assert client.control("POST", "alerts", json=told).status_code == 204
    assert client.control("GET", "alerts").json() == [*before, {"title": "It fails", "message": "Because."}]
    assert client.control("POST", "alerts", json={"title": 1}).status_code == 400
