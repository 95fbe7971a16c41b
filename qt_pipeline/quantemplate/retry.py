"""Retries of a download.

Here: the waits between attempts, and the error after the last one.
Not here: what an attempt is (see client), which failures are retried (see transport and body).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)
from tenacity.stop import stop_base

from qt_pipeline.errors import PipelineError, TransientError
from qt_pipeline.quantemplate.body import UnexpectedContentError
from qt_pipeline.quantemplate.transport import RequestFailedError

T = TypeVar("T")

_log = logging.getLogger(__name__)


class NotReadyError(TransientError):
    """The vendor has no content for the dataset yet (204)."""


@dataclass(frozen=True, slots=True)
class DownloadRetryPolicy:
    """Two budgets: `attempts` for failures in a row, `not_ready_seconds` for a vendor or a proxy that is not ready.

    Waits grow from `base_seconds` (four times that while not ready), doubling up to sixty times it, with jitter on
    top. A `Retry-After` that is longer is obeyed up to `retry_after_cap_seconds`.
    """

    attempts: int
    retry_after_cap_seconds: float
    not_ready_seconds: float
    base_seconds: float

    def call(self, attempt: Callable[[], T], *, ends_at: float) -> T:
        """The result of `attempt`, retried on RequestFailedError, NotReadyError and a page that may be temporary.

        No wait extends beyond `ends_at` on the monotonic clock.

        Raises:
            PipelineError: of the type of the last failure, with the number and duration of the attempts.
        """
        base = self.base_seconds
        too_late = _StopBefore(ends_at)
        while_not_ready = Retrying(
            retry=retry_if_exception(_may_be_ready_soon),
            stop=stop_before_delay(self.not_ready_seconds) | too_late,
            wait=wait_exponential(multiplier=4 * base, max=60 * base) + wait_random(0, base),
            before_sleep=_log_wait,
            retry_error_callback=_give_up,
        )
        while_failing = Retrying(
            retry=retry_if_exception_type(RequestFailedError),
            stop=stop_after_attempt(self.attempts) | too_late,
            wait=self._wait_after_failure,
            before_sleep=_log_wait,
            retry_error_callback=_give_up,
        )
        return while_not_ready(while_failing, attempt)

    def _wait_after_failure(self, state: RetryCallState) -> float:
        base = self.base_seconds
        backoff = wait_exponential(multiplier=base, max=60 * base) + wait_random(0, base)
        asked_for = getattr(_failure(state), "retry_after_seconds", None) or 0.0
        return max(backoff(state), min(asked_for, self.retry_after_cap_seconds))


class _StopBefore(stop_base):
    """Stops before a time on the monotonic clock, and before a wait that would end after it."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        return time.monotonic() + retry_state.upcoming_sleep >= self._deadline


def _may_be_ready_soon(error: BaseException) -> bool:
    return isinstance(error, NotReadyError) or (isinstance(error, UnexpectedContentError) and error.may_pass)


def _failure(state: RetryCallState) -> PipelineError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, PipelineError):
        raise TypeError("only errors of this project are retried")
    return error


def _log_wait(state: RetryCallState) -> None:
    error = _failure(state)
    _log.info(
        "Dataset %s: %s Try %d; the next in %.1f s.",
        error.dataset_id,
        error.message,
        state.attempt_number,
        state.upcoming_sleep,
    )


def _give_up(state: RetryCallState) -> NoReturn:
    error = _failure(state)
    tried = "once" if state.attempt_number == 1 else f"{state.attempt_number} times"
    message = f"{error.message} Tried {tried} in {state.seconds_since_start or 0:.0f} s."
    hint = error.hint or "It may pass by itself; if it goes on, look at the network and at Quantemplate."
    raise type(error)(message, hint=hint, dataset_id=error.dataset_id) from None
