-- connection 1
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
ROLLBACK;
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_events'
COMMIT;
SET NOCOUNT ON; DECLARE @taken INT; EXEC @taken = sp_getapplock @Resource = ?, @LockMode = 'Exclusive', @LockOwner =
    'Session', @LockTimeout = ?; SELECT @taken;
-- with 'qt_pipeline/9f0e844fccc4bc161bbe8ef8937376ce59a214ac04ec056ad4a7896b3afed723', 5000

-- connection 2
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_events'
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_inbox'
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_events', '_qt_inbox'
CREATE TABLE _qt_events (
    seq BIGINT NOT NULL IDENTITY,
    event_id NVARCHAR(max) NOT NULL,
    name NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
    dataset_id NVARCHAR(100) COLLATE Latin1_General_100_BIN2 NULL,
    created NVARCHAR(max) NULL,
    received_at DATETIME2(6) NOT NULL,
    source_address NVARCHAR(max) NULL,
    body VARBINARY(max) NOT NULL,
    state VARCHAR(20) NOT NULL,
    outcome NVARCHAR(max) NULL,
    attempts INTEGER NOT NULL,
    attempts_before_replay INTEGER NOT NULL,
    delivery NVARCHAR(max) COLLATE Latin1_General_100_BIN2 NULL,
    unchanged_checks INTEGER NOT NULL DEFAULT '0',
    not_before DATETIME2(6) NULL,
    settled_at DATETIME2(6) NULL,
    PRIMARY KEY (seq)
);
CREATE INDEX _qt_events_dataset ON _qt_events (dataset_id, seq);
CREATE INDEX _qt_events_settled ON _qt_events (state, settled_at);
CREATE INDEX _qt_events_state ON _qt_events (state, seq);
CREATE TABLE _qt_inbox (
    id INTEGER NOT NULL CHECK (id = 1),
    inbox_id NVARCHAR(36) NOT NULL,
    checked_at DATETIME2(6) NULL,
    PRIMARY KEY (id)
);
SELECT _qt_inbox.inbox_id FROM _qt_inbox;
INSERT INTO _qt_inbox (id, inbox_id) VALUES (?, ?);
-- with 1, '<new id>'
COMMIT;

-- connection 1
-- closed
