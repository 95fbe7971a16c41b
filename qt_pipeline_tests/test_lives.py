from qt_pipeline_tests.lives import live


def test_in_every_life_each_event_comes_to_its_right_end_and_no_key_is_used_twice() -> None:
    live(lives=60, steps=40)
