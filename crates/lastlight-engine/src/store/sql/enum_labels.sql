-- The schema's enum types with their labels in order. Reads the catalogs; locks nothing.
SELECT t.typname::text AS "name!", array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS "labels!"
FROM pg_type t
JOIN pg_enum e ON e.enumtypid = t.oid
WHERE t.typnamespace = current_schema()::regnamespace
GROUP BY t.typname
ORDER BY t.typname
