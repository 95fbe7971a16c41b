"""Work ahead of whoever consumes it, in a thread: reading and converting go on while a database takes rows.

Here: that one function. Not here: what is read or written.
"""

from collections.abc import Generator, Iterable, Iterator
from contextvars import copy_context
from queue import Empty, Full, Queue
from threading import Event, Thread
from types import GeneratorType
from typing import TypeVar, cast

T = TypeVar("T")

_POLL_SECONDS = 0.1


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T]:
    """The same items in the same order, made by a thread that is up to `depth` of them ahead.

    An error of `items` is raised where the item would have come. Closing the generator ends the thread. It works in a
    copy of the context of whoever asks for the first item.
    """
    queue: Queue[object] = Queue(maxsize=depth)
    stopped = Event()
    work = copy_context().run
    thread = Thread(target=work, args=(_produce, iter(items), queue, stopped), name="ahead", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # pyright: ignore[reportReturnType]  # what was put in is a T
    finally:
        stopped.set()
        _empty(queue)
        thread.join()


def _empty(queue: Queue[object]) -> None:
    """Empty the queue, so that a producer that waits for room can see that it is to stop."""
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return


def _produce(items: Iterator[object], queue: Queue[object], stopped: Event) -> None:
    try:
        for item in items:
            if not _put(queue, item, stopped):
                break
        else:
            _put(queue, _END, stopped)
            return
    except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that consumes
        _put(queue, _Failed(error), stopped)
    finally:
        # A generator that is left early would keep its file open.
        if isinstance(items, GeneratorType):
            cast("Generator[object]", items).close()


def _put(queue: Queue[object], item: object, stopped: Event) -> bool:
    while not stopped.is_set():
        try:
            queue.put(item, timeout=_POLL_SECONDS)
        except Full:
            continue
        return True
    return False
