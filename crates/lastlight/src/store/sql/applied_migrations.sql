-- The migrations that have run. A sequential scan of a handful of rows; locks nothing. sqlx made
-- the table.
SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version
