"""Addresses: how often each may be written to, and when again after it did not take a message.

Here: the bound as a function of values. Not here: what is written (see incidents, messages), how it is sent (see send).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

_HOUR = timedelta(hours=1)
_FIRST_WAIT = timedelta(seconds=30)
_MAX_WAIT = timedelta(minutes=10)
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Contact:
    """How an address was written to: when within the last hour, how often in vain since, and not again before when."""

    sent: tuple[datetime, ...] = ()
    failures: int = 0
    not_before: datetime | None = None

    def may_be_sent(self, now: datetime, *, per_hour: int) -> bool:
        """Whether it may be written to now."""
        return len(self._recent(now)) < per_hour and (self.not_before is None or now >= self.not_before)

    def sending(self, now: datetime) -> "Contact":
        """With the message that is about to be sent: it counts, whatever becomes of it should this process die."""
        return replace(self, sent=(*self._recent(now), now))

    def delivered(self) -> "Contact":
        """After a message that was taken."""
        return replace(self, failures=0, not_before=None)

    def failed(self, now: datetime) -> "Contact":
        """After a message that was not: it does not count, and the next try waits longer with each failure."""
        wait = min(_FIRST_WAIT * 2 ** min(self.failures, _MAX_DOUBLINGS), _MAX_WAIT)
        return Contact(self.sent[:-1], self.failures + 1, now + wait)

    def _recent(self, now: datetime) -> tuple[datetime, ...]:
        return tuple(moment for moment in self.sent if moment > now - _HOUR)
