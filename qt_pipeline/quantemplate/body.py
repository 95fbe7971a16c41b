"""The body of a download: decompressed, checked to be CSV and not a web page, limited, and verified to be complete.

Here: every check of the bytes that does not parse them as CSV.
Not here: status and headers (see client), rows and columns (see tabular).
"""

import re
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from qt_pipeline.errors import FailureScope, PermanentError, TransientError
from qt_pipeline.quantemplate.transport import RequestFailedError
from qt_pipeline.safe_text import shortened

_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_DOCUMENT_TYPE: Final = re.compile(r"html|json|xml", re.IGNORECASE)
_HEAD_BYTES: Final = 1024
_MAX_BLANK_BYTES: Final = 64 * 1024
_BLANK: Final = re.compile(rb"(?:\xef\xbb\xbf|\s)*")
# No CSV begins with a comment or a document type, whatever stands behind them.
_MARKUP: Final = re.compile(
    rb"<(?:!--|!doctype\s|\?xml\s|(?:html|head|body|script|style|meta|title)[\s>])", re.IGNORECASE
)
_AWS_CHUNK: Final = re.compile(rb"[0-9a-f]+;chunk-signature=")
# What servers write there that encodes nothing: character sets, encodings of mail, what a store has undone already.
_NO_CODINGS: Final = (
    *("", "identity", "none", "binary", "7bit", "8bit", "aws-chunked"),
    *("utf-8", "utf8", "utf-16", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"),
)
_CONTENT_TYPE_LENGTH: Final = 200
_JSON: Final = re.compile(rb"[\[{]")


class IncompleteBodyError(RequestFailedError):
    """The body was truncated, or its gzip stream is damaged. A retry may succeed."""

    scope = FailureScope.DATASET


class UnverifiedLengthError(PermanentError):
    """The body ended without length, chunking or gzip: its completeness cannot be verified."""


class EmptyBodyError(TransientError):
    """The response is complete and has no bytes, not even a header line."""


class UnexpectedContentError(PermanentError):
    """The answer is a web page, a JSON document or an encoding that was not asked for: not CSV.

    `may_pass` says that it may be the maintenance page of a proxy, which goes by itself: the client tries again for
    some minutes. It is permanent all the same, since whoever gets it has waited for that long.
    """

    may_pass = False


class DownloadLimitError(PermanentError):
    """The download is larger, or takes longer, than the settings allow.

    Permanent, even the time limit: by then all attempts of one download are used up, and an automatic retry would
    multiply the time at every layer.
    """


class DownloadTooSlowError(DownloadLimitError):
    """The download takes longer than allowed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a download is ended that does not end by itself.

    `bytes` bounds what travels and what that unpacks to; `seconds` all tries together, which is over at `ends_at` on
    the monotonic clock.
    """

    bytes: int
    seconds: float
    ends_at: float

    def check(self, size: int) -> None:
        """Refuse to go on with more than `size` bytes, or now.

        Raises:
            DownloadLimitError: a limit is exceeded.
        """
        if size > self.bytes:
            raise DownloadLimitError(
                f"The download has more than {self.bytes:,} bytes.",
                hint="If the dataset is that large, raise QT_MAX_DOWNLOAD_BYTES; else look at it in Quantemplate.",
            )
        if time.monotonic() > self.ends_at:
            raise DownloadTooSlowError(
                f"The download is not over after {self.seconds:,.0f} seconds.",
                hint="If the dataset is that large, raise QT_MAX_DOWNLOAD_SECONDS; else look at the network.",
            )


class Body:
    """The decoded bytes of one answer, to be iterated once, in pieces of bounded size.

    The iteration ends normally only if the body is whole; `wire_bytes` and `decoded_bytes` count as it goes.
    `response` must not have been read, and must not be decoded by requests.

    Raises:
        UnexpectedContentError: at construction by the headers, or at the first piece by the first bytes.
        DownloadLimitError: at construction by a stated length, or while iterating.
        IncompleteBodyError: while iterating; what came before must be thrown away.
        UnverifiedLengthError: at the end, unless `allow_unverified_length`.
        EmptyBodyError: at the end.
    """

    def __init__(self, response: requests.Response, limits: Limits, *, allow_unverified_length: bool) -> None:
        content_type = response.headers.get("content-type")
        self.content_type = None if content_type is None else shortened(content_type, length=_CONTENT_TYPE_LENGTH)
        self.wire_bytes = 0
        self.decoded_bytes = 0
        self._limits = limits
        self._raw = response.raw
        # Asked now: urllib3 counts the remaining length down.
        self._framed = self._raw.chunked or self._raw.length_remaining is not None
        self._allow_unverified_length = allow_unverified_length
        if _DOCUMENT_TYPE.search(self._media_type):
            raise _document(f"the content type {shortened(self._media_type)!r}")
        encodings = [part.strip().lower() for part in response.headers.get("content-encoding", "").split(",")]
        codings = [encoding for encoding in encodings if encoding not in _NO_CODINGS]
        if codings not in ([], ["gzip"], ["x-gzip"]):
            raise _unexpected(f"the content encoding {shortened(', '.join(codings))!r}, which was not asked for")
        self._gzipped = bool(codings)
        if response.headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise _unexpected("a transfer encoding that was not asked for")
        limits.check(self._raw.length_remaining or 0)

    def __iter__(self) -> Iterator[bytes]:
        decoded = _gunzip(self._wire()) if self._gzipped else self._wire()
        for piece in self._refuse_documents(decoded):
            self.decoded_bytes += len(piece)
            self._limits.check(self.decoded_bytes)
            yield piece
        # A gzip stream carries its own end (RFC 1952, 2.3.1), and has reached it here if it had a beginning.
        proven = self._framed or (self._gzipped and self.wire_bytes > 0)
        if not (proven or self._allow_unverified_length):
            raise UnverifiedLengthError(
                "The download was closed without a length, so its end cannot be proven.",
                hint="Ask whoever runs the proxy in between; QT_ALLOW_UNVERIFIED_LENGTH=true accepts the risk.",
            )
        if not self.decoded_bytes:
            raise EmptyBodyError(
                "The download has zero bytes, not even a header.", hint="Look at the dataset in Quantemplate."
            )

    def _wire(self) -> Iterator[bytes]:
        try:
            # What has come, however little: waiting for whole pieces would hide a slow drip from the clock.
            while piece := self._raw.read1(_CHUNK_BYTES, decode_content=False):
                self.wire_bytes += len(piece)
                self._limits.check(self.wire_bytes)
                yield piece
        except HTTPError as error:
            # `from None`: urllib3's words may quote bytes of the body.
            kind = type(error).__name__
            raise IncompleteBodyError(f"The download broke off after {self.wire_bytes} bytes ({kind}).") from None

    def _refuse_documents(self, decoded: Iterator[bytes]) -> Iterator[bytes]:
        """Look at the first bytes before any is passed on."""
        head = b""
        for piece in decoded:
            head += piece
            if len(_unblanked(head)) >= _HEAD_BYTES or len(head) >= _MAX_BLANK_BYTES:
                break
        begins = _unblanked(head)
        # A CSV header may well begin with a bracket; a body that does not even claim to be CSV gets no such credit.
        if _MARKUP.match(begins) or ("csv" not in self._media_type and _JSON.match(begins)):
            raise _document("a web page or a document instead of CSV")
        if _AWS_CHUNK.match(begins):
            raise _unexpected("the chunks of an upload to Amazon S3 (aws-chunked) instead of CSV")
        if head:
            yield head
        yield from decoded

    @property
    def _media_type(self) -> str:
        return (self.content_type or "").partition(";")[0].strip().lower()


def _unblanked(head: bytes) -> bytes:
    """What comes after byte order marks and blanks, which pages may have before their first tag."""
    return _BLANK.sub(b"", head, count=1)


def _gunzip(wire: Iterable[bytes]) -> Iterator[bytes]:
    """Undo gzip with bounded memory. Members may follow one another (RFC 1952, 2.2); each must be complete."""
    member = zlib.decompressobj(_GZIP)
    begun = False
    for data in wire:
        begun = True
        rest = data
        while rest:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
            try:
                piece = member.decompress(rest, _CHUNK_BYTES)
            except zlib.error:
                raise IncompleteBodyError("The gzip stream of the download is damaged.") from None
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if piece:
                yield piece
    if begun and not member.eof:
        raise IncompleteBodyError("The gzip stream of the download ended before its end.")


def _document(found: str) -> UnexpectedContentError:
    error = _unexpected(found)
    error.may_pass = True
    return error


def _unexpected(found: str) -> UnexpectedContentError:
    return UnexpectedContentError(
        f"Quantemplate's answer has {found}.",
        hint="Often this is the login or error page of a proxy in between: check QT_API_URL and HTTPS_PROXY.",
    )
