-- connection 1
SET XACT_ABORT ON; SET LOCK_TIMEOUT 120000;
ROLLBACK;
-- SQLAlchemy asks which of these tables are there;
-- with 'qt', 'U', 'V', '_qt_loads'
COMMIT;
SET NOCOUNT ON; DECLARE @taken INT; EXEC @taken = sp_getapplock @Resource = ?, @LockMode = 'Exclusive', @LockOwner =
    'Session', @LockTimeout = ?; SELECT @taken;
-- with 'qt_pipeline/3e0cfbcdc84dd160e0fbf082084323cc2c05222acba3097b2dfa5aab6a32b8ff', 120000

-- connection 2
SET XACT_ABORT ON; SET LOCK_TIMEOUT 120000;
SELECT schema_id(?) AS schema_id_1;
-- with 'qt'
CREATE SCHEMA qt;
-- SQLAlchemy asks which of these tables are there;
-- with 'qt', 'U', 'V', '_qt_loads'
-- SQLAlchemy asks which of these tables are there;
-- with 'qt', 'U', 'V', '_qt_loads', '_qt_columns'
CREATE TABLE qt._qt_loads (
    load_id BIGINT NOT NULL IDENTITY,
    dataset_id NVARCHAR(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
    table_schema NVARCHAR(128) NULL,
    table_name NVARCHAR(128) NOT NULL,
    mode NVARCHAR(20) NOT NULL,
    status VARCHAR(20) NOT NULL,
    run_id NVARCHAR(100) NOT NULL,
    landing_run_id NVARCHAR(100) NOT NULL,
    landing_uri NVARCHAR(max) NOT NULL,
    landed_at DATETIME2(6) NOT NULL,
    sha256 NVARCHAR(64) NOT NULL,
    bytes BIGINT NOT NULL,
    inbox_id NVARCHAR(36) NOT NULL,
    through_seq BIGINT NOT NULL,
    event_id NVARCHAR(200) NULL,
    rules NVARCHAR(64) NOT NULL,
    rows BIGINT NULL,
    table_rows BIGINT NULL,
    started_at DATETIME2(6) NOT NULL,
    finished_at DATETIME2(6) NULL,
    replaced_load_id BIGINT NULL,
    changes NVARCHAR(max) NULL,
    error NVARCHAR(max) NULL,
    restores_load_id BIGINT NULL,
    declared NVARCHAR(max) NULL,
    PRIMARY KEY (load_id)
);
CREATE INDEX _qt_loads_dataset ON qt._qt_loads (dataset_id, status);
CREATE INDEX _qt_loads_table ON qt._qt_loads (table_name, status);
CREATE TABLE qt._qt_columns (
    dataset_id NVARCHAR(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
    position INTEGER NOT NULL,
    header NVARCHAR(max) NOT NULL,
    name NVARCHAR(max) NOT NULL,
    kind NVARCHAR(20) NOT NULL,
    [precision] INTEGER NOT NULL,
    scale INTEGER NOT NULL,
    length INTEGER NOT NULL,
    format NVARCHAR(400) NOT NULL,
    first_load BIGINT NOT NULL,
    last_load BIGINT NOT NULL,
    PRIMARY KEY (dataset_id, position)
);
COMMIT;

-- connection 1
-- closed

-- connection 2
SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME();
COMMIT;
