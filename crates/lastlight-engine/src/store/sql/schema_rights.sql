-- The rights of this role on the schema $1 and to create it. One row, by the catalog's indexes;
-- locks nothing.
SELECT current_user::text AS "role!", current_database()::text AS "database!", n.oid IS NOT NULL AS "has_schema!",
       COALESCE(has_schema_privilege(n.oid, 'USAGE'), false) AS "may_look!",
       COALESCE(has_schema_privilege(n.oid, 'CREATE'), false) AS "may_create!"
FROM (VALUES ($1::text)) AS wanted (name)
LEFT JOIN pg_namespace n ON n.nspname = wanted.name
