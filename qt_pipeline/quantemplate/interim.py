"""Skip interim responses (1xx) before the final one, as RFC 9110, 15.2 requires.

Here: connections for requests that do so. Python's own skip only 100, and treat 102 and 103 as final.
Not here: what a response means (see transport).
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
    """A requests adapter for servers that send interim responses; also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as requests has it
        """See HTTPAdapter."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401  # as requests has it
        """See HTTPAdapter."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager
