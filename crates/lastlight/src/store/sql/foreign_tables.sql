-- Tables of the schema $1 that bear a name of the app's and that its migrations did not make, asked
-- where none has run. By the catalog's index of names; locks nothing.
SELECT c.relname::text AS name
FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident($1))
  -- Who may not look into the schema does not know what has run there.
  AND has_schema_privilege(c.relnamespace, 'USAGE')
  AND c.relname = ANY (ARRAY['jobs', 'stages', 'tasks', 'task_batches', 'outbox'])
ORDER BY c.relname
