-- connection 2
UPDATE _qt_events SET state=?, outcome=NULL, attempts=(_qt_events.attempts + ?),
    attempts_before_replay=(_qt_events.attempts + ?), delivery=NULL, unchanged_checks=?, not_before=NULL,
    settled_at=NULL WHERE _qt_events.seq = ? AND _qt_events.state != ?;
-- with 'pending', 1, 1, 0, 7, 'pending'
COMMIT;

-- connection 3
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
DELETE FROM _qt_events WHERE _qt_events.seq IN (SELECT TOP 1000 old.seq FROM _qt_events AS old WHERE old.state IN (?,
    ?) AND old.settled_at < ? AND (old.dataset_id IS NULL OR (EXISTS (SELECT * FROM _qt_events AS later WHERE
    later.dataset_id = old.dataset_id AND later.seq > old.seq))));
-- with 'done', 'ignored', 2026-01-31 10:00:00
COMMIT;
