SET NOCOUNT ON; DECLARE @taken INT; EXEC @taken = sp_getapplock @Resource = ?, @LockMode = 'Exclusive', @LockOwner =
    'Session', @LockTimeout = ?; SELECT @taken;
-- with 'qt_pipeline/a9bcc081d14cd8645c0badb2b122d6d47a3aa7ffda38a7d877c6b2031620ca82', 120000

-- connection 2
SET XACT_ABORT ON; SET LOCK_TIMEOUT 120000;
SELECT qt._qt_loads.load_id FROM qt._qt_loads WHERE qt._qt_loads.table_schema = ? AND qt._qt_loads.table_name = ? AND
    qt._qt_loads.status = ?;
-- with 'qt', 'paid', 'staging'
SELECT max(qt._qt_loads.load_id) AS max_1 FROM qt._qt_loads WHERE qt._qt_loads.table_schema = ? AND
    qt._qt_loads.table_name = ?;
-- with 'qt', 'paid'
COMMIT;
SELECT c.name, COALESCE(base.name, own.name), c.max_length, c.precision, c.scale, c.collation_name, CASE WHEN
    c.is_computed = 1 OR c.generated_always_type <> 0 THEN 1 ELSE 0 END FROM sys.columns AS c LEFT JOIN sys.types AS
    base ON base.user_type_id = c.system_type_id LEFT JOIN sys.types AS own ON own.user_type_id = c.user_type_id WHERE
    c.object_id = OBJECT_ID(?) ORDER BY c.column_id;
-- with '[qt].[paid]'
SELECT TOP 1 <all columns> FROM qt._qt_loads WHERE qt._qt_loads.table_schema = ? AND qt._qt_loads.table_name = ? AND
    qt._qt_loads.status IN (?) ORDER BY qt._qt_loads.load_id DESC;
-- with 'qt', 'paid', 'published'
SELECT qt._qt_columns.dataset_id, qt._qt_columns.position, qt._qt_columns.header, qt._qt_columns.name,
    qt._qt_columns.kind, qt._qt_columns.[precision], qt._qt_columns.scale, qt._qt_columns.length,
    qt._qt_columns.format, qt._qt_columns.first_load, qt._qt_columns.last_load FROM qt._qt_columns WHERE
    qt._qt_columns.dataset_id = ? ORDER BY qt._qt_columns.position;
-- with 'd-one'
SELECT TOP 1 <all columns> FROM qt._qt_loads WHERE qt._qt_loads.dataset_id = ? AND qt._qt_loads.status IN (?, ?) ORDER
    BY qt._qt_loads.load_id DESC;
-- with 'd-one', 'published', 'unchanged'
INSERT INTO qt._qt_loads (dataset_id, table_schema, table_name, mode, status, run_id, landing_run_id, landing_uri,
    landed_at, sha256, bytes, inbox_id, through_seq, event_id, rules, started_at, restores_load_id, declared) OUTPUT
    inserted.load_id VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL);
-- with 'd-one', 'qt', 'paid', 'replace', 'staging', 'run-1', 'run-1', 'file:///landing/d-one/run-1/data.csv.zst',
--   2026-01-31 10:00:00, '59f53b9699523720a0e2ec63ad310ded434babeb45bb95ba26432350379c03d7', 10, 'inbox-1', 0,
--   'event-1', 'rules-1', <now>
COMMIT;
CREATE TABLE qt.[_qt_stage_8] (
    [Whole] DECIMAL(38, 2) NULL,
    [Fine] DECIMAL(38, 30) NULL,
    [Few] DECIMAL(15, 1) NULL,
    [_qt_load] BIGINT NOT NULL,
    [_qt_row] BIGINT NOT NULL
);
CREATE UNIQUE CLUSTERED INDEX _qt_rows ON qt.[_qt_stage_8] ([_qt_load], [_qt_row]);
COMMIT;
-- bulk copy, on a connection of its own: [qt].[_qt_stage_8] (batch_size=100000, timeout=0, table_lock=True)
--   decimal128(38, 2), decimal128(38, 30), decimal128(15, 1), int64, int64
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
SELECT TOP 1 <all columns> FROM qt._qt_loads WHERE qt._qt_loads.dataset_id = ? AND qt._qt_loads.status IN (?, ?) ORDER
    BY qt._qt_loads.load_id DESC;
-- with 'd-one', 'published', 'unchanged'
SELECT COUNT_BIG(*) AS count_1, sum(CAST(round(qt.[_qt_stage_8].[Whole], -17, 1) AS NUMERIC(38, 0)) /
    100000000000000000) AS sum_1, sum(qt.[_qt_stage_8].[Whole] - round(qt.[_qt_stage_8].[Whole], -17, 1)) AS sum_2,
    sum(CAST(round(qt.[_qt_stage_8].[Fine], 11, 1) AS NUMERIC(38, 11))) AS sum_3, sum(qt.[_qt_stage_8].[Fine] -
    round(qt.[_qt_stage_8].[Fine], 11, 1)) AS sum_4, sum(CAST(qt.[_qt_stage_8].[Few] AS NUMERIC(38, 1))) AS sum_5,
    COUNT_BIG([Whole]), COUNT_BIG([Fine]), COUNT_BIG([Few]) FROM qt.[_qt_stage_8];
EXEC sp_rename ?, ?, 'OBJECT';
-- with '[qt].[_qt_stage_8]', 'paid'
SELECT qt._qt_columns.name, qt._qt_columns.kind, qt._qt_columns.first_load FROM qt._qt_columns WHERE
    qt._qt_columns.dataset_id = ?;
-- with 'd-one'
DELETE FROM qt._qt_columns WHERE qt._qt_columns.dataset_id = ?;
-- with 'd-one'
INSERT INTO qt._qt_columns (dataset_id, position, header, name, kind, [precision], scale, length, format, first_load,
    last_load) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?);
-- with 'd-one', 0, 'Whole', 'Whole', 'decimal', 38, 2, 0, '', 8, 8, 'd-one', 1, 'Fine', 'Fine', 'decimal', 38, 30, 0,
--   '', 8, 8, 'd-one', 2, 'Few', 'Few', 'decimal', 15, 1, 0, '', 8, 8
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
UPDATE qt._qt_loads SET status=?, rows=?, table_rows=?, finished_at=?, replaced_load_id=NULL, changes=NULL,
    error=NULL, declared=? WHERE qt._qt_loads.load_id = ? AND qt._qt_loads.status = ?;
-- with 'published', 1, 1, <now>, '{}', 8, 'staging'
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
COMMIT;
DROP TABLE IF EXISTS qt.[_qt_stage_8];
COMMIT;

-- connection 1
-- closed
