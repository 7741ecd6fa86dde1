-- Size and maintenance of the schema's tables, from the server's statistics. Reads the catalogs;
-- locks nothing.
SELECT c.relname::text AS "name!", GREATEST(c.reltuples, 0)::bigint AS "rows_estimate!",
       COALESCE(s.n_live_tup, 0)::bigint AS "live_rows!", COALESCE(s.n_dead_tup, 0)::bigint AS "dead_rows!",
       COALESCE(s.n_tup_upd, 0)::bigint AS "updates!", COALESCE(s.n_tup_hot_upd, 0)::bigint AS "heap_only_updates!",
       pg_table_size(c.oid) AS "table_bytes!", pg_indexes_size(c.oid) AS "index_bytes!",
       GREATEST(s.last_vacuum, s.last_autovacuum) AS last_vacuum,
       GREATEST(s.last_analyze, s.last_autoanalyze) AS last_analyze
FROM pg_class c
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
ORDER BY c.relname
