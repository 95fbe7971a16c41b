-- connection 1
SET XACT_ABORT ON; SET LOCK_TIMEOUT 120000;
ROLLBACK;
-- SQLAlchemy asks which of these tables are there;
-- with 'qt', 'U', 'V', '_qt_loads'
-- SQLAlchemy asks which of these tables are there;
-- with 'qt', 'U', 'V', '_qt_columns'
SELECT col_length(?, ?) AS col_length_1;
-- with 'qt._qt_columns', 'format'
SELECT col_length(?, ?) AS col_length_1;
-- with 'qt._qt_loads', 'restores_load_id'
SELECT col_length(?, ?) AS col_length_1;
-- with 'qt._qt_loads', 'declared'
COMMIT;
SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME();
COMMIT;
