"""Produces items in a thread ahead of their consumer: files are read and converted while a database takes rows."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import GeneratorType
from typing import TypeVar, cast

T = TypeVar("T")

_END = object()


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T]:
    """Yield the same items in the same order, produced by a thread, of which `depth` wait while one is in hand.

    An error of `items` is raised in place of its item. Closing the generator ends the thread. The thread runs in a
    copy of the context of the caller that requests the first item.
    """
    iterator, context = iter(items), copy_context()
    pending: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        try:
            for _ in range(depth + 1):
                pending.append(thread.submit(context.run, next, iterator, _END))
            while (item := pending.popleft().result()) is not _END:
                pending.append(thread.submit(context.run, next, iterator, _END))
                yield cast("T", item)
        finally:
            for future in pending:
                future.cancel()
            # A generator that is not exhausted would keep its file open.
            if isinstance(iterator, GeneratorType):
                thread.submit(context.run, cast("Generator[object]", iterator).close).result()
