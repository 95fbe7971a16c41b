"""Telling: what is owed to each address goes out, and what was taken is remembered.

Here: the order of writing and sending, so that a crash repeats a message rather than loses it.
Not here: what is owed (see incidents), how it is sent (see send), where it is kept (see store).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from qt_pipeline.alerting.contacts import Contact
from qt_pipeline.alerting.incidents import SURE, Owed, kept, owed, told
from qt_pipeline.alerting.messages import Background, compose
from qt_pipeline.alerting.send import Address, Courier, Outcome
from qt_pipeline.alerting.store import State


@dataclass(frozen=True, slots=True)
class Post:
    """Who is told, how, and at most how often an hour. `sure` is how long what no run has told must last."""

    addresses: Sequence[Address]
    courier: Courier
    per_hour: int
    sure: timedelta = SURE


def tell(
    state: State,
    post: Post,
    *,
    now: datetime,
    keep: Callable[[State, State], None],
    background: Callable[[Sequence[Owed]], Background],
) -> tuple[State, list[Outcome]]:
    """Send what is owed and may be sent now; the state after it, and what became of each message.

    `keep` writes a state in place of the one before: once before sending, once after it. `background` is asked for what
    the words need, if there is anything to say.
    """
    contacts = {address.key: state.memory.contacts.get(address.key, Contact()) for address in post.addresses}
    before, state = state, State(state.memory, kept(state.incidents, contacts.keys(), now=now))
    due: dict[Address, Owed] = {}
    for address in post.addresses:
        what = owed(state.incidents, address.key, now=now, sure=post.sure)
        if what and contacts[address.key].may_be_sent(now, per_hour=post.per_hour):
            due[address] = what
            contacts[address.key] = contacts[address.key].sending(now)
    state = _with(state, contacts)
    keep(before, state)
    if not due:
        return state, []
    known = background(list(due.values()))
    outcomes = post.courier.deliver({address: compose(what, known) for address, what in due.items()})
    incidents = state.incidents
    for outcome in outcomes:
        key, contact = outcome.address.key, contacts[outcome.address.key]
        contacts[key] = contact.took_it() if outcome.taken else contact.refused_it(now)
        if outcome.taken:
            incidents = told(incidents, key, due[outcome.address])
    after = _with(State(state.memory, kept(incidents, contacts.keys(), now=now)), contacts)
    keep(state, after)
    return after, outcomes


def _with(state: State, contacts: Mapping[str, Contact]) -> State:
    return State(replace(state.memory, contacts=dict(contacts)), state.incidents)
