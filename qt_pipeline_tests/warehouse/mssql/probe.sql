SELECT [INFORMATION_SCHEMA].[SCHEMATA].[SCHEMA_NAME] FROM [INFORMATION_SCHEMA].[SCHEMATA] ORDER BY
    [INFORMATION_SCHEMA].[SCHEMATA].[SCHEMA_NAME];
COMMIT;
CREATE TABLE qt.[_qt_stage_7] (
    [a text] NVARCHAR(20) NULL,
    [a number] BIGINT NULL,
    [an amount] DECIMAL(15, 2) NULL,
    [a day] DATE NULL,
    [a moment] DATETIME2(6) NULL,
    [_qt_load] BIGINT NOT NULL,
    [_qt_row] BIGINT NOT NULL
);
COMMIT;
-- bulk copy, on a connection of its own: [qt].[_qt_stage_7] (batch_size=100000, timeout=0, table_lock=True)
--   string, int64, decimal128(15, 2), date32[day], timestamp[us], int64, int64
CREATE TABLE qt.[_qt_probe_7] (
    [a text] NVARCHAR(20) NULL,
    [a number] BIGINT NULL,
    [an amount] DECIMAL(15, 2) NULL,
    [a day] DATE NULL,
    [a moment] DATETIME2(6) NULL,
    [_qt_load] BIGINT NOT NULL,
    [_qt_row] BIGINT NOT NULL
);
CREATE UNIQUE CLUSTERED INDEX _qt_rows ON qt.[_qt_probe_7] ([_qt_load], [_qt_row]);
INSERT INTO qt.[_qt_probe_7] ([a text], [a number], [an amount], [a day], [a moment], [_qt_load], [_qt_row]) SELECT
    qt.[_qt_stage_7].[a text], qt.[_qt_stage_7].[a number], qt.[_qt_stage_7].[an amount], qt.[_qt_stage_7].[a day],
    qt.[_qt_stage_7].[a moment], qt.[_qt_stage_7].[_qt_load], qt.[_qt_stage_7].[_qt_row] FROM qt.[_qt_stage_7];
SELECT COUNT_BIG(*) AS count_1, sum(CAST(qt.[_qt_probe_7].[a number] AS NUMERIC(38, 0))) AS sum_1,
    sum(CAST(qt.[_qt_probe_7].[an amount] AS NUMERIC(38, 2))) AS sum_2, SUM(CAST(DATALENGTH([a text]) / 2 AS BIGINT)),
    SUM(CAST(UNICODE(LEFT([a text] COLLATE Latin1_General_BIN2, 1)) AS BIGINT)), SUM(CAST(UNICODE(RIGHT([a text]
    COLLATE Latin1_General_BIN2, 1)) AS BIGINT)), COUNT_BIG([a number]), COUNT_BIG([an amount]), COUNT_BIG([a day]),
    SUM(CAST(DATEDIFF(DAY, '19700101', [a day]) AS BIGINT)), COUNT_BIG([a moment]), SUM(CAST(DATEDIFF_BIG(MICROSECOND,
    '19700101', [a moment]) AS DECIMAL(38, 0))) FROM qt.[_qt_probe_7];
DELETE FROM qt.[_qt_probe_7];
DROP TABLE qt.[_qt_probe_7];
COMMIT;
DROP TABLE IF EXISTS qt.[_qt_stage_7];
COMMIT;
