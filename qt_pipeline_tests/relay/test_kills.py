import pytest

from qt_pipeline_tests.chaos import relay_kills


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("events", "kills"), [(2_000, 5), pytest.param(10_000, 20, marks=pytest.mark.long)])
def test_what_a_killed_relay_acknowledged_is_in_the_inbox_under_its_number(events: int, kills: int) -> None:
    figures = relay_kills.run(events=events, kills=kills)
    assert figures.acknowledged == events
    assert (figures.missing, figures.absent) == (0, 0)
    # The kills did hit requests in progress.
    assert figures.unanswered > kills
