"""The routes under `/_control` that control the sandbox: change a dataset, fire its event, inject faults.

Here: JSON in, JSON out, over the state. Not here: the vendor's own routes (see app).
"""

from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ExceptionHandler

from qt_pipeline.errors import ConfigurationError
from qt_pipeline.sandbox.datasets import DatasetVersion
from qt_pipeline.sandbox.faults import Fault
from qt_pipeline.sandbox.state import NotServedError, SandboxState
from qt_pipeline.sandbox.webhook import ENVELOPES, Envelope, NoWebhookError, WebhookUnreachableError

_FAULTS = TypeAdapter(list[Fault])
_STATUS_OF_ERROR: dict[type[Exception], HTTPStatus] = {
    ValidationError: HTTPStatus.BAD_REQUEST,
    ConfigurationError: HTTPStatus.BAD_REQUEST,
    NotServedError: HTTPStatus.NOT_FOUND,
    NoWebhookError: HTTPStatus.CONFLICT,
    WebhookUnreachableError: HTTPStatus.BAD_GATEWAY,
}


class _Webhook(BaseModel):
    url: str | None


class _Alert(BaseModel):
    """What Apprise posts to a `json://` address, as far as it is shown."""

    title: str
    message: str


def routes(state: SandboxState) -> list[Route]:
    """The control routes over `state`, to be mounted at `/_control`."""
    control = _Control(state)
    return [
        Route("/datasets", control.datasets),
        Route("/datasets/{dataset_id}", control.put, methods=["PUT"]),
        Route("/datasets/{dataset_id}/csv", control.csv),
        Route("/datasets/{dataset_id}/change", control.change, methods=["POST"]),
        Route("/datasets/{dataset_id}/fire", control.fire, methods=["POST"]),
        Route("/datasets/{dataset_id}/faults", control.set_faults, methods=["PUT"]),
        Route("/fire", control.fire_raw, methods=["POST"]),
        Route("/webhook", control.set_webhook, methods=["PUT"]),
        Route("/alerts", control.take_alert, methods=["POST"]),
        Route("/alerts", control.alerts),
        Route("/requests", control.requests),
    ]


def exception_handlers() -> dict[type[Exception], ExceptionHandler]:
    """Responses for control requests that the state rejects, or whose body is invalid."""
    return dict.fromkeys(_STATUS_OF_ERROR, _refusal)


async def _refusal(_: Request, error: Exception) -> Response:
    message = "The body is not what this route takes." if isinstance(error, ValidationError) else str(error)
    return JSONResponse({"message": message}, _STATUS_OF_ERROR[type(error)])


class _Control:
    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def datasets(self, _: Request) -> Response:
        return JSONResponse(
            [
                {**_as_json(dataset_id, self._state.version(dataset_id)), "name": name}
                for dataset_id, name in self._state.names().items()
            ]
        )

    async def csv(self, request: Request) -> Response:
        version = self._state.version(request.path_params["dataset_id"])
        return Response(version.csv, headers={"Content-Type": "text/csv"})

    async def put(self, request: Request) -> Response:
        dataset_id, csv = request.path_params["dataset_id"], await request.body()
        return await self._new_version(request, lambda: self._state.put(dataset_id, csv))

    async def change(self, request: Request) -> Response:
        dataset_id = request.path_params["dataset_id"]
        return await self._new_version(request, lambda: self._state.change(dataset_id))

    async def fire(self, request: Request) -> Response:
        return JSONResponse(await self._fire(request.path_params["dataset_id"], _envelope(request)))

    async def fire_raw(self, request: Request) -> Response:
        delivery = await run_in_threadpool(self._state.fire_raw, await request.body())
        return JSONResponse(asdict(delivery))

    async def set_faults(self, request: Request) -> Response:
        self._state.set_faults(request.path_params["dataset_id"], _FAULTS.validate_json(await request.body()))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def set_webhook(self, request: Request) -> Response:
        self._state.set_webhook(_Webhook.model_validate_json(await request.body()).url)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def take_alert(self, request: Request) -> Response:
        self._state.take_alert(_Alert.model_validate_json(await request.body()).model_dump())
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def alerts(self, _: Request) -> Response:
        return JSONResponse(self._state.alerts())

    async def requests(self, _: Request) -> Response:
        return JSONResponse(
            [
                {
                    "datasetId": download.dataset_id,
                    "version": download.version,
                    "traceId": download.trace_id,
                    "status": download.status,
                    "fault": download.fault,
                }
                for download in self._state.downloads()
            ]
        )

    async def _new_version(self, request: Request, make: Callable[[], DatasetVersion]) -> Response:
        dataset_id: str = request.path_params["dataset_id"]
        must_fire, envelope = request.query_params.get("fire") == "true", _envelope(request)
        if must_fire:
            self._state.webhook_url()  # before the change, so that a refusal leaves everything as it was
        answer = _as_json(dataset_id, await run_in_threadpool(make))
        if must_fire:
            answer["delivery"] = await self._fire(dataset_id, envelope)
        return JSONResponse(answer)

    async def _fire(self, dataset_id: str, envelope: Envelope) -> dict[str, object]:
        return asdict(await run_in_threadpool(self._state.fire, dataset_id, envelope))


def _envelope(request: Request) -> Envelope:
    envelope = request.query_params.get("envelope", "guide")
    if envelope not in ENVELOPES:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"envelope must be one of: {', '.join(ENVELOPES)}")
    return envelope


def _as_json(dataset_id: str, version: DatasetVersion) -> dict[str, object]:
    return {
        "datasetId": dataset_id,
        "version": version.number,
        "bytes": len(version.csv),
        "sha256": version.sha256,
    }
