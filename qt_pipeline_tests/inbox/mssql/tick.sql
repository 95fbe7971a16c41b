-- connection 2
SELECT TOP 20000 _qt_events.state, _qt_events.name, _qt_events.dataset_id, _qt_events.attempts,
    _qt_events.attempts_before_replay, _qt_events.delivery, _qt_events.unchanged_checks, min(_qt_events.seq) AS
    first_seq, max(_qt_events.seq) AS last_seq, max(_qt_events.not_before) AS not_before FROM _qt_events WHERE
    _qt_events.state = ? GROUP BY _qt_events.state, _qt_events.name, _qt_events.dataset_id, _qt_events.attempts,
    _qt_events.attempts_before_replay, _qt_events.delivery, _qt_events.unchanged_checks ORDER BY first_seq;
-- with 'pending'
COMMIT;

-- connection 3
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
SELECT TOP 1 _qt_events.received_at FROM _qt_events WHERE _qt_events.state = ? ORDER BY _qt_events.seq;
-- with 'pending'
COMMIT;

-- connection 2
SELECT max(_qt_events.seq) AS max_1 FROM _qt_events;
COMMIT;

-- connection 3
SELECT max(_qt_events.seq) AS max_1 FROM _qt_events WHERE _qt_events.dataset_id = ?;
-- with 'd-one'
COMMIT;

-- connection 2
UPDATE _qt_events SET state=?, outcome=NULL, attempts=?, delivery=?, unchanged_checks=?, not_before=NULL,
    settled_at=NULL WHERE _qt_events.seq BETWEEN ? AND ? AND _qt_events.state = ? AND _qt_events.name = ? AND
    _qt_events.dataset_id = ? AND _qt_events.attempts = ? AND _qt_events.attempts_before_replay = ? AND
    _qt_events.delivery IS NULL AND _qt_events.unchanged_checks = ?;
-- with 'pending', 2, 'd-one:9:2', 0, 7, 9, 'pending', 'DatasetUpdated', 'd-one', 1, 0, 0
UPDATE _qt_events SET state=?, outcome=NULL, attempts=?, delivery=NULL, unchanged_checks=?, not_before=NULL,
    settled_at=? WHERE _qt_events.seq BETWEEN ? AND ? AND _qt_events.state = ? AND _qt_events.name = ? AND
    _qt_events.dataset_id = ? AND _qt_events.attempts = ? AND _qt_events.attempts_before_replay = ? AND
    _qt_events.delivery IS NULL AND _qt_events.unchanged_checks = ?;
-- with 'done', 0, 0, <now>, 7, 9, 'pending', 'DatasetUpdated', 'd-one', 1, 0, 0
COMMIT;
