-- The migrations that have run, from the table that sqlx creates. A sequential scan of a few rows;
-- locks nothing.
SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version
