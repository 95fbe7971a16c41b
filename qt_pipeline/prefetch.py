"""Produces items in a thread ahead of their consumer: files are read and converted while a database takes rows.

Here: that function. Not here: what is read or written.
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
    """Yield the same items in the same order, produced by a thread up to `depth` items ahead.

    An error of `items` is raised in place of its item. Closing the generator ends the thread. The thread runs in a
    copy of the context of the caller that requests the first item.
    """
    queue: Queue[object] = Queue(maxsize=depth)
    stopped = Event()
    work = copy_context().run
    thread = Thread(target=work, args=(_produce, iter(items), queue, stopped), name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # pyright: ignore[reportReturnType]  # every queued item is a T
    finally:
        stopped.set()
        _empty(queue)
        thread.join()


def _empty(queue: Queue[object]) -> None:
    """Empty the queue, so that a producer waiting for space sees that it must stop."""
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
    except BaseException as error:  # noqa: BLE001  # raised again in the consumer's thread
        _put(queue, _Failed(error), stopped)
    finally:
        # A generator that is not exhausted would keep its file open.
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
