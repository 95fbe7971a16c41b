"""Telling: what is owed to each address goes out, and what was taken is remembered.

Here: the order of writing and sending, so that a crash repeats a message rather than loses it.
Not here: what is owed (see incidents), how it is sent (see send), where it is kept (see store).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from qt_pipeline.alerting.contacts import Contact
from qt_pipeline.alerting.incidents import DEBOUNCE, PendingNotifications, mark_notified, pending_notifications, prune
from qt_pipeline.alerting.messages import MessageContext, compose
from qt_pipeline.alerting.send import Address, Sender, SendResult
from qt_pipeline.alerting.store import AlertState


@dataclass(frozen=True, slots=True)
class AlertRouting:
    """Who is told, how, and at most how often an hour. `sure` is how long what no run has told must last."""

    addresses: Sequence[Address]
    sender: Sender
    per_hour: int
    debounce: timedelta = DEBOUNCE


def notify(
    state: AlertState,
    post: AlertRouting,
    *,
    now: datetime,
    keep: Callable[[AlertState, AlertState], None],
    background: Callable[[Sequence[PendingNotifications]], MessageContext],
) -> tuple[AlertState, list[SendResult]]:
    """Send what is owed and may be sent now; the state after it, and what became of each message.

    `keep` writes a state in place of the one before: once before sending, once after it. `background` is asked for what
    the words need, if there is anything to say.
    """
    contacts = {address.key: state.checkpoint.contacts.get(address.key, Contact()) for address in post.addresses}
    before, state = state, AlertState(state.checkpoint, prune(state.incidents, contacts.keys(), now=now))
    due: dict[Address, PendingNotifications] = {}
    for address in post.addresses:
        what = pending_notifications(state.incidents, address.key, now=now, sure=post.debounce)
        if what and contacts[address.key].may_be_sent(now, per_hour=post.per_hour):
            due[address] = what
            contacts[address.key] = contacts[address.key].sending(now)
    state = _with(state, contacts)
    keep(before, state)
    if not due:
        return state, []
    known = background(list(due.values()))
    outcomes = post.sender.deliver({address: compose(what, known) for address, what in due.items()})
    incidents = state.incidents
    for outcome in outcomes:
        key, contact = outcome.address.key, contacts[outcome.address.key]
        contacts[key] = contact.delivered() if outcome.taken else contact.failed(now)
        if outcome.taken:
            incidents = mark_notified(incidents, key, due[outcome.address])
    after = _with(AlertState(state.checkpoint, prune(incidents, contacts.keys(), now=now)), contacts)
    keep(state, after)
    return after, outcomes


def _with(state: AlertState, contacts: Mapping[str, Contact]) -> AlertState:
    return AlertState(replace(state.checkpoint, contacts=dict(contacts)), state.incidents)
