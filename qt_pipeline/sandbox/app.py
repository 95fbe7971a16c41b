"""The vendor's side of the sandbox over HTTP: token, dataset download, executions and outputs.

Here: routes, who is let in, the shape of answers as documented. Not here: the routes that steer it (see control).
"""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from qt_pipeline.sandbox import control
from qt_pipeline.sandbox.datasets import DatasetVersion
from qt_pipeline.sandbox.downloads import csv_response
from qt_pipeline.sandbox.pipelines import OUTPUT_DATASET_ID, PIPELINE_ID
from qt_pipeline.sandbox.state import NotServedError, SandboxState, ServedDownload

API_PATH = "/v1"
TOKEN_PATH = "/auth/realms/qt/protocol/openid-connect/token"  # noqa: S105  # a path, as Keycloak has it

_EXECUTIONS_PATH = "/organisations/{organisation_id}/pipelines/{pipeline_id}/executions"
_BAD_CLIENT = "Invalid client or Invalid client credentials"


def create_app(state: SandboxState) -> Starlette:
    """The whole sandbox as an ASGI application over `state`."""
    vendor = _Vendor(state)
    return Starlette(
        routes=[
            Route(TOKEN_PATH, vendor.token, methods=["POST"]),
            Mount(API_PATH, routes=vendor.api_routes()),
            Mount("/_control", routes=control.routes(state)),
        ],
        exception_handlers={HTTPStatus.NOT_FOUND: _not_found, **control.exception_handlers()},
    )


class _Vendor:
    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def api_routes(self) -> list[Route]:
        return [
            Route("/organisations/{organisation_id}/datasets/{dataset_id}", self.dataset),
            Route(_EXECUTIONS_PATH, self.start_execution, methods=["POST"]),
            Route(_EXECUTIONS_PATH, self.executions),
            Route(_EXECUTIONS_PATH + "/{execution_id}/outputs/{output_id}", self.output),
        ]

    async def token(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return _token_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "HTTP 415 Unsupported Media Type")
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        if "grant_type" not in form:
            return _token_error(HTTPStatus.BAD_REQUEST, "invalid_request", "Missing form parameter: grant_type")
        if form["grant_type"] != "client_credentials":
            return _token_error(HTTPStatus.BAD_REQUEST, "unsupported_grant_type", "Unsupported grant_type")
        tokens = self._state.tokens
        if not tokens.knows_client(form.get("client_id", "")):
            return _token_error(HTTPStatus.UNAUTHORIZED, "invalid_client", _BAD_CLIENT)
        if not tokens.accepts(form.get("client_secret", "")):
            # Keycloak's own distinction: a known client with a wrong secret is "unauthorized".
            return _token_error(HTTPStatus.UNAUTHORIZED, "unauthorized_client", _BAD_CLIENT)
        return JSONResponse(
            {
                "access_token": tokens.issue(),
                "expires_in": tokens.lifetime_seconds,
                "refresh_expires_in": 0,
                "token_type": "Bearer",
                "not-before-policy": 0,
                "scope": "profile email",
            },
            headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
        )

    async def dataset(self, request: Request) -> Response:
        dataset_id: str = request.path_params["dataset_id"]
        try:
            self._let_in(request)
            version = self._asked_version(dataset_id, request.query_params.get("version"))
        except HTTPException as refusal:
            self._state.record(ServedDownload(dataset_id, None, _trace_id(request), refusal.status_code, None))
            raise
        return await self._serve(request, dataset_id, version)

    async def output(self, request: Request) -> Response:
        self._let_in_to_pipeline(request)
        if not self._state.pipeline.has_output(request.path_params["execution_id"], request.path_params["output_id"]):
            raise HTTPException(HTTPStatus.NOT_FOUND, "Output not found")
        return await self._serve(request, OUTPUT_DATASET_ID, self._state.version(OUTPUT_DATASET_ID))

    async def start_execution(self, request: Request) -> Response:
        self._let_in_to_pipeline(request)
        return JSONResponse(self._state.pipeline.start().as_json())

    async def executions(self, request: Request) -> Response:
        self._let_in_to_pipeline(request)
        return JSONResponse([execution.as_json() for execution in self._state.pipeline.executions()])

    def _let_in(self, request: Request) -> None:
        if not self._state.tokens.holds(_bearer(request.headers)):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "Unauthorized", {"WWW-Authenticate": "Bearer"})
        if request.path_params["organisation_id"] != self._state.organisation_id:
            raise HTTPException(HTTPStatus.FORBIDDEN, "Forbidden")

    def _let_in_to_pipeline(self, request: Request) -> None:
        self._let_in(request)
        if request.path_params["pipeline_id"] != PIPELINE_ID:
            raise HTTPException(HTTPStatus.NOT_FOUND, "Pipeline not found")

    def _asked_version(self, dataset_id: str, number: str | None) -> DatasetVersion:
        try:
            return self._state.version(dataset_id, None if number is None else int(number))
        except NotServedError as error:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from None
        except ValueError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "version must be a whole number") from None

    async def _serve(self, request: Request, dataset_id: str, version: DatasetVersion) -> Response:
        fault = self._state.next_fault(dataset_id)
        if fault is not None and (fault.expires_token or fault.kind == "expire_token"):
            self._state.tokens.expire(_bearer(request.headers))
        compress = self._state.gzip and "gzip" in request.headers.get("accept-encoding", "")
        response = await run_in_threadpool(csv_response, version.csv, fault, compress=compress)
        self._state.record(
            ServedDownload(
                dataset_id, version.number, _trace_id(request), response.status_code, fault.kind if fault else None
            )
        )
        return response


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _trace_id(request: Request) -> str | None:
    return request.headers.get("x-qt-trace-id")


def _token_error(status: HTTPStatus, error: str, description: str | None = None) -> Response:
    body = {"error": error} if description is None else {"error": error, "error_description": description}
    return JSONResponse(body, status)


async def _not_found(_: Request, error: Exception) -> Response:
    # JSON, as the vendor documents it for 404 alone; Starlette's plain text already fits 401 and 403.
    return JSONResponse({"message": error.detail if isinstance(error, HTTPException) else ""}, HTTPStatus.NOT_FOUND)
