-- connection 2
SELECT _qt_inbox.id FROM _qt_inbox WITH (UPDLOCK);
INSERT INTO _qt_events (event_id, name, dataset_id, created, received_at, source_address, body, state, attempts,
    attempts_before_replay, unchanged_checks) OUTPUT inserted.seq, inserted.seq AS seq__1 SELECT p0, p1, p2, p3, p4,
    p5, p6, p7, p8, p9, p10 FROM (VALUES (?, ?, ?, NULL, ?, NULL, ?, ?, ?, ?, ?, 0), (?, ?, ?, NULL, ?, NULL, ?, ?, ?,
    ?, ?, 1)) AS imp_sen(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, sen_counter) ORDER BY sen_counter;
-- with 'e-1', 'DatasetUpdated', 'd-one', 2026-01-31 10:00:00, b'{}', 'pending', 0, 0, 0, 'e-1', 'DatasetUpdated',
--   'd-one', 2026-01-31 10:00:00, b'{}', 'pending', 0, 0, 0
COMMIT;
