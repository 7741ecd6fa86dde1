-- Size and use of the schema's indexes, from the server's statistics. Reads the catalogs; locks
-- nothing.
SELECT t.relname::text AS "table_name!", i.relname::text AS "name!", pg_relation_size(i.oid) AS "bytes!",
       COALESCE(s.idx_scan, 0)::bigint AS "scans!", x.indisunique AS is_unique, x.indisvalid AS is_valid
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = x.indexrelid
WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind = 'r'
ORDER BY t.relname, i.relname
