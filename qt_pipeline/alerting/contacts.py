"""Rate limit and retry delay of each alert address.

Here: pure decisions. Not here: what is sent (see incidents, messages), and how (see send).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

_HOUR = timedelta(hours=1)
_FIRST_WAIT = timedelta(seconds=30)
_MAX_WAIT = timedelta(minutes=10)
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Contact:
    """The recent messages to an address.

    Attributes:
        sent: when messages were sent within the last hour.
        failures: failed messages since the last success.
        not_before: the earliest time of the next try.
    """

    sent: tuple[datetime, ...] = ()
    failures: int = 0
    not_before: datetime | None = None

    def may_be_sent(self, now: datetime, *, per_hour: int) -> bool:
        """Whether a message may be sent now."""
        return len(self._recent(now)) < per_hour and (self.not_before is None or now >= self.not_before)

    def sending(self, now: datetime) -> "Contact":
        """Count the message that is about to be sent, so that it counts even if this process dies."""
        return replace(self, sent=(*self._recent(now), now))

    def delivered(self) -> "Contact":
        """Reset failures after a delivered message."""
        return replace(self, failures=0, not_before=None)

    def failed(self, now: datetime) -> "Contact":
        """Uncount a failed message and delay the next try, longer with each failure."""
        wait = min(_FIRST_WAIT * 2 ** min(self.failures, _MAX_DOUBLINGS), _MAX_WAIT)
        return Contact(self.sent[:-1], self.failures + 1, now + wait)

    def _recent(self, now: datetime) -> tuple[datetime, ...]:
        return tuple(sent_at for sent_at in self.sent if sent_at > now - _HOUR)
