"""Interim responses (1xx) that come before the final one: skipped, as RFC 9110, 15.2 wants.

Here: the connections of requests that do so. Python's own skips 100 alone, and takes 102 and 103 for the answer.
Not here: what an answer means (see transport).
"""

from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, parse_headers
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_MAX_INTERIM: Final = 20


class _FinalResponse(HTTPResponse):
    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MAX_INTERIM):
            # Any: it is not in the stub.
            python: Any = HTTPResponse
            line: tuple[str, int, str] = python._read_status(self)  # noqa: SLF001  # no other way to what is below
            if not HTTPStatus.PROCESSING <= line[1] < HTTPStatus.OK:
                return line
            parse_headers(self.fp)
        raise HTTPException("too many interim responses")


class _Connection(HTTPConnection):
    response_class = _FinalResponse


class _SecureConnection(HTTPSConnection):
    response_class = _FinalResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection  # pyright: ignore[reportAssignmentType]  # a protocol of their own that theirs breaks, too


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection  # pyright: ignore[reportAssignmentType]  # the same


class FinalResponseAdapter(HTTPAdapter):
    """What requests uses for a connection, for a server that sends interim responses; also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as requests has it
        """See HTTPAdapter."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401  # as requests has it
        """See HTTPAdapter."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager
