import pytest

from qt_pipeline_tests.chaos import relay_kills


@pytest.mark.timeout(600)
def test_what_a_killed_relay_acknowledged_is_in_the_inbox_under_its_number() -> None:
    figures = relay_kills.run(events=10_000, kills=20)
    assert figures.acknowledged == 10_000
    assert (figures.missing, figures.absent) == (0, 0)
    # The kills did hit requests in progress.
    assert figures.unanswered > 20
