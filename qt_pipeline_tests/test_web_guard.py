"""Which requests the guard lets through, and which of those that a web page can send it refuses."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from qt_pipeline.web_guard import WebGuard

PORT = 3000
HOST = "127.0.0.1:3000"
JSON = {"Content-Type": "application/json"}


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    """The application below: it answers everything."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def ask(
    method: str = "GET",
    path: str = "/",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    host: str | None = HOST,
    hosts: tuple[str, ...] = (),
    json_only: bool = True,
    **scope: Any,
) -> int | str:
    """The status that a request gets, or `accepted` and `closed` for a WebSocket."""
    pairs = list(headers.items()) if isinstance(headers, dict) else (headers or [])
    pairs += [("Host", host)] if host is not None else []
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    raw = [(name.lower().encode(), value.encode()) for name, value in pairs]
    request = {"type": "http", "method": method, "path": path, "headers": raw, "server": ("127.0.0.1", PORT), **scope}
    asyncio.run(WebGuard(answer, hosts, json_only=json_only)(request, receive, send))
    if request["type"] == "websocket":
        return {"websocket.accept": "accepted", "websocket.close": "closed"}[sent[0]["type"]]
    return sent[0]["status"]


@pytest.mark.parametrize("host", [HOST, "localhost:3000", "LOCALHOST:3000", "[::1]:3000"])
def test_the_names_of_the_loopback_address_are_answered(host: str) -> None:
    assert ask(host=host) == 200
    assert ask("POST", "/graphql", {**JSON, "Origin": f"http://{host}"}, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example:3000",
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:3001",
        "127.0.0.1.evil.example:3000",
        "[::2]:3000",
    ],
)
def test_any_other_name_is_refused(host: str | None) -> None:
    for method, path in (("GET", "/"), ("POST", "/graphql"), ("POST", "/report_asset_materialization/warehouse/table")):
        assert ask(method, path, JSON, host=host) == 403
        assert ask(method, path, JSON, host=host, json_only=False) == 403
    assert ask(host=host, path="/graphql", type="websocket") == "closed"


def test_two_names_are_refused() -> None:
    assert ask(headers=[("Host", "evil.example")]) == 403


def test_a_name_of_the_settings_is_answered_with_its_own_port_and_scheme() -> None:
    hosts = ("dagster.example.com",)
    assert ask(host="dagster.example.com", hosts=hosts) == 200
    headers = {**JSON, "Origin": "https://dagster.example.com", "Sec-Fetch-Site": "same-origin"}
    assert ask("POST", "/graphql", headers, host="dagster.example.com", hosts=hosts) == 200
    assert ask("POST", "/graphql", headers, host=HOST, hosts=hosts) == 403


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "chrome-extension://127.0.0.1:3000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_what_another_page_sends_is_refused_whatever_it_is(foreign: dict[str, str]) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"):
        for path in ("/", "/graphql", "/report_asset_check/warehouse/table", "/server_info"):
            for json_only in (True, False):
                assert ask(method, path, {**JSON, **foreign}, json_only=json_only) == 403
    assert ask(path="/graphql", headers=foreign, type="websocket") == "closed"


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/graphql",
        "application/jsonp",
    ],
)
def test_only_json_may_be_posted(kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert ask("POST", "/graphql", headers) == 403
    assert ask("POST", "/report_asset_materialization/warehouse/table", headers) == 403


def test_two_types_of_content_are_refused() -> None:
    assert ask("POST", "/graphql", [("Content-Type", "application/json"), ("Content-Type", "text/plain")]) == 403


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_answered(kind: str) -> None:
    assert ask("POST", "/graphql", {"Content-Type": kind}) == 200


def test_graphql_is_not_executed_by_a_get() -> None:
    assert ask("GET", "/graphql") == ask("HEAD", "/graphql", {"Accept": "image/*"}) == 403
    # Dagster answers this with a page, and executes nothing.
    assert ask("GET", "/graphql", {"Accept": "text/html,*/*"}) == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_other_method_is_answered(method: str) -> None:
    assert ask(method, "/graphql", JSON) == 403


def test_a_link_of_a_message_or_another_page_leads_to_a_page() -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask(path="/runs/1", headers=followed) == 200
    assert ask(path="/graphql", headers={**followed, "Accept": "text/html"}) == 403
    assert ask("POST", "/runs/1", {**followed, **JSON}) == 403
    assert ask(path="/runs/1", headers={**followed, "Sec-Fetch-Dest": "iframe"}) == 403


def test_the_pages_own_subscription_is_accepted() -> None:
    assert ask(path="/graphql", headers={"Origin": f"http://{HOST}"}, type="websocket") == "accepted"
    assert ask(path="/graphql", type="websocket") == "accepted"
