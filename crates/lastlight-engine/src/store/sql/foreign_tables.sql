-- Tables of the schema $1 that have a name of an app table and were not created by its migrations;
-- used when no migration has run. By the catalog's index of names; locks nothing.
SELECT c.relname::text AS "name!"
FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident($1))
  -- A role that may not use the schema cannot know what has run there.
  AND has_schema_privilege(c.relnamespace, 'USAGE')
  AND c.relname = ANY (ARRAY['jobs', 'stages', 'tasks', 'task_batches', 'outbox'])
ORDER BY c.relname
