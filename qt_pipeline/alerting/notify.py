"""Sends the pending notifications of each address and records which were delivered.

Here: the order of writing and sending: a crash repeats a message rather than losing it.
Not here: which notifications are pending (see incidents), sending (see send), storage (see store).
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
    """The addresses, their sender, and the limit of messages per address and hour.

    `debounce` is how long a problem found without a failed run must last.
    """

    addresses: Sequence[Address]
    sender: Sender
    per_hour: int
    debounce: timedelta = DEBOUNCE


def notify(
    state: AlertState,
    routing: AlertRouting,
    *,
    now: datetime,
    save: Callable[[AlertState, AlertState], None],
    load_context: Callable[[Sequence[PendingNotifications]], MessageContext],
) -> tuple[AlertState, list[SendResult]]:
    """Send the pending notifications that the rate limit allows. Returns the new state and the result of each message.

    `save(before, after)` writes a state: once before sending, once after. `load_context` reads what the messages need,
    only if there is one to send.
    """
    contacts = {address.key: state.checkpoint.contacts.get(address.key, Contact()) for address in routing.addresses}
    before, state = state, AlertState(state.checkpoint, prune(state.incidents, contacts.keys(), now=now))
    due: dict[Address, PendingNotifications] = {}
    for address in routing.addresses:
        pending = pending_notifications(state.incidents, address.key, now=now, debounce=routing.debounce)
        if pending and contacts[address.key].may_be_sent(now, per_hour=routing.per_hour):
            due[address] = pending
            contacts[address.key] = contacts[address.key].sending(now)
    state = _with(state, contacts)
    save(before, state)
    if not due:
        return state, []
    context = load_context(list(due.values()))
    results = routing.sender.deliver({address: compose(pending, context) for address, pending in due.items()})
    incidents = state.incidents
    for result in results:
        key, contact = result.address.key, contacts[result.address.key]
        contacts[key] = contact.delivered() if result.delivered else contact.failed(now)
        if result.delivered:
            incidents = mark_notified(incidents, key, due[result.address])
    after = _with(AlertState(state.checkpoint, prune(incidents, contacts.keys(), now=now)), contacts)
    save(state, after)
    return after, results


def _with(state: AlertState, contacts: Mapping[str, Contact]) -> AlertState:
    return AlertState(replace(state.checkpoint, contacts=dict(contacts)), state.incidents)
