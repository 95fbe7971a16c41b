import gc
import itertools
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.prefetch import prefetch
from qt_pipeline_tests.examples import few_examples

PATIENCE = 30
"""Seconds until a test gives up on a thread; none waits so long when all is well."""


class CanaryError(Exception):
    pass


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


class Source:
    """Numbers without end, which know how far they were asked for and whether they were closed, and by whom."""

    def __init__(self) -> None:
        self.made = 0
        self.reached = threading.Condition()
        self.closed_by: threading.Thread | None = None

    def numbers(self) -> Generator[int]:
        try:
            for number in itertools.count():
                with self.reached:
                    self.made = number + 1
                    self.reached.notify_all()
                yield number
        finally:
            self.closed_by = threading.current_thread()

    def wait_for(self, made: int, seconds: float = PATIENCE) -> bool:
        with self.reached:
            return self.reached.wait_for(lambda: self.made >= made, seconds)


@few_examples()
@given(st.lists(st.integers() | st.none(), max_size=30), st.integers(1, 5))
def test_the_items_come_in_their_order_and_none_is_lost(items: list[int | None], depth: int) -> None:
    assert list(prefetch(items, depth)) == items
    assert running() == []


@pytest.mark.parametrize("depth", [1, 2, 10])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_error_comes_where_its_item_would_have_come(before: int, depth: int) -> None:
    def items() -> Iterator[int]:
        yield from range(before)
        raise CanaryError

    passing = prefetch(items(), depth)
    assert [next(passing) for _ in range(before)] == list(range(before))
    with pytest.raises(CanaryError):
        next(passing)
    with pytest.raises(StopIteration):
        next(passing)
    assert running() == []


def test_an_error_that_is_no_exception_comes_too() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    passing = prefetch(items())
    assert next(passing) == 1
    with pytest.raises(KeyboardInterrupt):
        next(passing)


def test_what_cannot_be_iterated_is_an_error_of_the_consumer() -> None:
    nothing: Any = 7
    with pytest.raises(TypeError):
        next(prefetch(nothing))
    assert running() == []


def test_items_are_made_in_one_other_thread() -> None:
    def items() -> Iterator[threading.Thread]:
        for _ in range(5):
            yield threading.current_thread()

    [maker] = set(prefetch(items()))
    assert maker is not threading.current_thread()


def test_nothing_is_made_before_the_first_item_is_asked_for() -> None:
    source = Source()
    passing = prefetch(source.numbers())
    assert (running(), source.made) == ([], 0)
    passing.close()
    assert source.made == 0


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_work_is_ahead_by_the_depth_and_one_item_in_hand_and_no_more(depth: int) -> None:
    source = Source()
    passing = prefetch(source.numbers(), depth)
    for taken in range(1, 4):
        assert next(passing) == taken - 1
        assert source.wait_for(taken + depth + 1)
        # Time for one that would go too far; the answer does not wait for it where all is well.
        assert not source.wait_for(taken + depth + 2, seconds=0.02)
    passing.close()


@pytest.mark.parametrize("taken", [1, 2, 7])
def test_closing_ends_the_thread_and_closes_the_source_in_it(taken: int) -> None:
    source = Source()
    passing = prefetch(source.numbers())
    assert list(itertools.islice(passing, taken)) == list(range(taken))
    [thread] = running()
    passing.close()
    assert not thread.is_alive()
    assert source.closed_by is thread
    assert list(passing) == []


def test_a_consumer_that_fails_ends_the_thread() -> None:
    source = Source()

    def consume() -> None:
        for number in prefetch(source.numbers()):
            if number == 3:
                raise CanaryError

    with pytest.raises(CanaryError):
        consume()
    gc.collect()
    assert running() == []
    assert source.closed_by is not None


def test_an_iterator_without_end_that_cannot_be_closed_is_left() -> None:
    passing = prefetch(itertools.count())
    assert list(itertools.islice(passing, 5)) == [0, 1, 2, 3, 4]
    passing.close()
    assert running() == []


def test_a_source_is_closed_when_it_has_come_to_its_end_or_failed() -> None:
    source = Source()

    def items() -> Iterator[int]:
        yield from itertools.islice(source.numbers(), 3)
        raise CanaryError

    with pytest.raises(CanaryError):
        list(prefetch(items()))
    assert source.closed_by is not None
