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
DROP TABLE IF EXISTS qt.[_qt_stage_7];
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
--   2026-01-31 10:00:00, '2f7c43d38f498c75de96ad0372860ffd94706cb67ec305fc5f73a7fe5bf26070', 10, 'inbox-1', 0,
--   'event-1', 'rules-1', <now>
COMMIT;
CREATE TABLE qt.[_qt_stage_8] (
    [Name] NVARCHAR(50) COLLATE Latin1_General_CI_AS NULL,
    [Paid] DECIMAL(15, 2) NULL,
    [Seen] DATETIME2(6) NULL,
    [Day] DATE NULL,
    [Done] BIT NULL,
    [Blank] NVARCHAR(50) COLLATE Latin1_General_BIN2 NULL,
    [_qt_load] BIGINT NOT NULL,
    [_qt_row] BIGINT NOT NULL
);
COMMIT;
-- bulk copy, on a connection of its own: [qt].[_qt_stage_8] (batch_size=100000, timeout=0, table_lock=True)
--   string, decimal128(15, 2), timestamp[us], date32[day], bool, string, int64, int64
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
SELECT TOP 1 <all columns> FROM qt._qt_loads WHERE qt._qt_loads.dataset_id = ? AND qt._qt_loads.status IN (?, ?) ORDER
    BY qt._qt_loads.load_id DESC;
-- with 'd-one', 'published', 'unchanged'
SELECT COUNT_BIG(*) AS count_1 FROM qt.[_qt_stage_8];
SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME();
DELETE FROM qt.[paid];
INSERT INTO qt.[paid] ([Name], [Paid], [Seen], [Day], [Done], [Blank], [_qt_load], [_qt_row]) SELECT
    qt.[_qt_stage_8].[Name], qt.[_qt_stage_8].[Paid], qt.[_qt_stage_8].[Seen], qt.[_qt_stage_8].[Day],
    qt.[_qt_stage_8].[Done], qt.[_qt_stage_8].[Blank], qt.[_qt_stage_8].[_qt_load], qt.[_qt_stage_8].[_qt_row] FROM
    qt.[_qt_stage_8];
SELECT COUNT_BIG(*) AS count_1, sum(CAST(qt.[paid].[Paid] AS NUMERIC(38, 2))) AS sum_1, SUM(CAST(DATALENGTH([Name]) /
    2 AS BIGINT)), SUM(CAST(UNICODE(LEFT([Name] COLLATE Latin1_General_BIN2, 1)) AS BIGINT)),
    SUM(CAST(UNICODE(RIGHT([Name] COLLATE Latin1_General_BIN2, 1)) AS BIGINT)), COUNT_BIG([Paid]), COUNT_BIG([Seen]),
    SUM(CAST(DATEDIFF_BIG(MICROSECOND, '19700101', [Seen]) AS DECIMAL(38, 0))), COUNT_BIG([Day]),
    SUM(CAST(DATEDIFF(DAY, '19700101', [Day]) AS BIGINT)), COUNT_BIG([Done]), SUM(CASE WHEN [Done] = 1 THEN CAST(1 AS
    BIGINT) ELSE 0 END), SUM(CAST(DATALENGTH([Blank]) / 2 AS BIGINT)), SUM(CAST(UNICODE(LEFT([Blank] COLLATE
    Latin1_General_BIN2, 1)) AS BIGINT)), SUM(CAST(UNICODE(RIGHT([Blank] COLLATE Latin1_General_BIN2, 1)) AS BIGINT))
    FROM qt.[paid];
SELECT COUNT(*) FROM sys.triggers WHERE parent_id = OBJECT_ID(?);
-- with '[qt].[paid]'
SELECT qt._qt_columns.name, qt._qt_columns.kind, qt._qt_columns.first_load FROM qt._qt_columns WHERE
    qt._qt_columns.dataset_id = ?;
-- with 'd-one'
DELETE FROM qt._qt_columns WHERE qt._qt_columns.dataset_id = ?;
-- with 'd-one'
INSERT INTO qt._qt_columns (dataset_id, position, header, name, kind, [precision], scale, length, format, first_load,
    last_load) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- with 'd-one', 0, 'Name', 'Name', 'text', 0, 0, 50, '', 8, 8, 'd-one', 1, 'Paid', 'Paid', 'decimal', 15, 2, 0, '',
--   8, 8, 'd-one', 2, 'Seen', 'Seen', 'timestamp', 0, 0, 0, '%Y-%m-%d %H:%M:%S.%1f', 8, 8, 'd-one', 3, 'Day', 'Day',
--   'date', 0, 0, 0, '%Y-%m-%d', 8, 8, 'd-one', 4, 'Done', 'Done', 'boolean', 0, 0, 0, '', 8, 8, 'd-one', 5, 'Blank',
--   'Blank', 'open', 0, 0, 0, '', 8, 8
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
UPDATE qt._qt_loads SET status=?, rows=?, table_rows=?, finished_at=?, replaced_load_id=?, changes=NULL, error=?,
    declared=? WHERE qt._qt_loads.load_id = ? AND qt._qt_loads.status = ?;
-- with 'published', 2, 2, <now>, 7, 'The table is published; the after_publish statement has not run yet.', '{}', 8,
--   'staging'
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
COMMIT;
DROP TABLE IF EXISTS qt.[_qt_stage_8];
COMMIT;
ALTER INDEX _qt_rows ON [qt].[paid] REORGANIZE;
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
EXEC dbo.refresh @like = '100%', @at = ':now?', @x = '%(a)s';
SELECT CONCAT(CURRENT_TRANSACTION_ID(), '/', @@TRANCOUNT) FROM sys.databases WHERE database_id = DB_ID();
UPDATE qt._qt_loads SET error=NULL WHERE qt._qt_loads.load_id = ?;
-- with 8
COMMIT;
-- closed

-- connection 1
-- closed
