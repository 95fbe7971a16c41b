"""Which lines of the ledger must stay, and the end of the others."""

from qt_pipeline.values import WriteMode
from qt_pipeline.warehouse import LoadRecord, LoadStatus, Warehouse
from qt_pipeline_tests.warehouse.loading import load, load_or_leave

DATASET = "d-one"


def file(number: int) -> bytes:
    return f"Name,Paid\nAnn,{number}.50\n".encode()


def line(warehouse: Warehouse) -> LoadRecord:
    return warehouse.loads(dataset_id=DATASET, limit=1)[0]


def test_of_a_table_whose_rows_are_replaced_the_newest_publish_is_needed(warehouse: Warehouse) -> None:
    for number in range(1, 5):
        load(warehouse, file(number), run_id=f"run-{number}", landing_run_id="elsewhere")
    needed = warehouse.needed_loads(DATASET)
    assert needed.in_table == {4}
    # The first is named by the contract: its columns are of that load.
    assert needed.lines == {1, 4}


def test_of_a_table_that_keeps_rows_every_publish_is_needed(warehouse: Warehouse) -> None:
    for number in range(1, 5):
        load(warehouse, file(number), mode=WriteMode.APPEND, landing_run_id="elsewhere")
    assert warehouse.needed_loads(DATASET).in_table == {1, 2, 3, 4}


def test_what_was_there_before_a_replacement_is_needed_no_more(warehouse: Warehouse) -> None:
    modes = [WriteMode.APPEND, WriteMode.APPEND, WriteMode.REPLACE, WriteMode.APPEND, WriteMode.APPEND]
    for number, mode in enumerate(modes, start=1):
        load(warehouse, file(number), mode=mode, landing_run_id="elsewhere")
    assert warehouse.needed_loads(DATASET).in_table == {3, 4, 5}


def test_what_says_how_far_events_were_reached_is_needed_in_each_inbox(warehouse: Warehouse) -> None:
    def bring(number: int, inbox_id: str, through_seq: int) -> None:
        run = f"run-{number}"
        load(warehouse, file(number), run_id=run, landing_run_id=run, inbox_id=inbox_id, through_seq=through_seq)

    bring(1, "inbox-1", 7)
    bring(2, "inbox-1", 9)
    bring(3, "inbox-2", 1)
    load_or_leave(warehouse, file(3), run_id="run-4", landing_run_id="run-4", inbox_id="inbox-2", through_seq=2)
    bring(5, "inbox-3", 1)
    before = warehouse.reached("inbox-1", [DATASET]), warehouse.reached("inbox-2", [DATASET])
    needed = warehouse.needed_loads(DATASET).lines
    assert needed == {1, 2, 3, 4, 5}
    load(warehouse, file(6), run_id="run-6", landing_run_id="elsewhere", inbox_id="inbox-3", through_seq=1)
    needed = warehouse.needed_loads(DATASET).lines
    assert needed == {1, 2, 3, 4, 5, 6}
    warehouse.delete_loads(record.load_id for record in warehouse.loads() if record.load_id not in needed)
    assert (warehouse.reached("inbox-1", [DATASET]), warehouse.reached("inbox-2", [DATASET])) == before


def test_the_last_load_of_a_table_is_needed_however_it_ended(warehouse: Warehouse) -> None:
    for number in range(1, 4):
        load(warehouse, file(number), landing_run_id="elsewhere")
    try:
        load(warehouse, b"Name,Paid\nAnn,much\n")
    except Exception:  # noqa: BLE001  # that it failed is all that matters
        assert line(warehouse).status is LoadStatus.FAILED
    needed = warehouse.needed_loads(DATASET)
    assert (needed.in_table, needed.lines) == ({3}, {1, 3, 4})


def test_lines_that_are_forgotten_are_gone_and_their_numbers_do_not_come_again(warehouse: Warehouse) -> None:
    for number in range(1, 4):
        load(warehouse, file(number), landing_run_id="elsewhere")
    warehouse.delete_loads([2, 3])
    assert [record.load_id for record in warehouse.loads()] == [1]
    load(warehouse, file(4), landing_run_id="elsewhere")
    assert line(warehouse).load_id == 4
