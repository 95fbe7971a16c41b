-- connection 2
INSERT INTO _qt_incidents (kind, subject, opened_at, closed_at, incident) VALUES (?, ?, ?, NULL, ?);
-- with 'does-not-load', 'd-one', 2026-01-31 10:00:00, '{"kind":"does-not-load","subject":"d-one","opened_at":"2026-
--   01-31T10:00:00Z","affected":{"d-one":{"failing":true,"run_id":"r-1","recovered":false}},"runs":1,"run_id":"r-
--   1","cause":null,"self_detected":false,"recovering_since":null,"closed_at":null,"notified":[],"forgotten":false,"s
--   till_failing":0}'
DELETE FROM _qt_alerting;
INSERT INTO _qt_alerting (id, memory) VALUES (?, ?);
-- with 1,
--   '{"runs_until":null,"runs_seen":{},"unread":{},"ledger_asked_at":null,"ledger_answered":true,"contacts":{}}'
COMMIT;

-- connection 3
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
DELETE FROM _qt_incidents WHERE _qt_incidents.kind = ? AND _qt_incidents.subject = ?;
-- with 'does-not-load', 'd-one'
INSERT INTO _qt_incidents (kind, subject, opened_at, closed_at, incident) VALUES (?, ?, ?, ?, ?);
-- with 'does-not-load', 'd-one', 2026-01-31 10:00:00, 2026-01-31 10:00:00, '{"kind":"does-not-load","subject":"d-
--   one","opened_at":"2026-01-31T10:00:00Z","affected":{"d-one":{"failing":false,"run_id":"r-
--   1","recovered":true}},"runs":1,"run_id":"r-1","cause":null,"self_detected":false,"recovering_since":"2026-01-
--   31T10:00:00Z","closed_at":"2026-01-31T10:00:00Z","notified":[],"forgotten":false,"still_failing":0}'
DELETE FROM _qt_alerting;
INSERT INTO _qt_alerting (id, memory) VALUES (?, ?);
-- with 1,
--   '{"runs_until":null,"runs_seen":{},"unread":{},"ledger_asked_at":null,"ledger_answered":true,"contacts":{}}'
COMMIT;
