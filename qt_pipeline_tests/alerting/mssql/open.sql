-- connection 1
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
ROLLBACK;
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_alerting'
COMMIT;
SET NOCOUNT ON; DECLARE @taken INT; EXEC @taken = sp_getapplock @Resource = ?, @LockMode = 'Exclusive', @LockOwner =
    'Session', @LockTimeout = ?; SELECT @taken;
-- with 'qt_pipeline/9f0e844fccc4bc161bbe8ef8937376ce59a214ac04ec056ad4a7896b3afed723', 5000

-- connection 2
SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000;
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_alerting'
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_incidents'
-- SQLAlchemy asks which of these tables are there;
-- with 'dbo', 'U', 'V', '_qt_incidents', '_qt_alerting'
CREATE TABLE _qt_incidents (
    kind NVARCHAR(40) NOT NULL,
    subject NVARCHAR(200) COLLATE Latin1_General_100_BIN2 NOT NULL,
    opened_at DATETIME2(6) NOT NULL,
    closed_at DATETIME2(6) NULL,
    incident NVARCHAR(max) NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE TABLE _qt_alerting (
    id INTEGER NOT NULL,
    memory NVARCHAR(max) NOT NULL,
    PRIMARY KEY (id)
);
COMMIT;

-- connection 1
-- closed
