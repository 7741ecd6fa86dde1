-- The rights that the app needs and the role lacks, on tables that exist. By the catalog's indexes;
-- locks nothing. $1: the schema; $2: tables; $3: privileges, one for each table.
SELECT wanted.name AS "table!", wanted.privilege AS "privilege!"
FROM unnest($2::text[], $3::text[]) AS wanted (name, privilege)
WHERE CASE WHEN to_regclass(format('%I.%I', $1::text, wanted.name)) IS NULL THEN false
           ELSE NOT has_table_privilege(to_regclass(format('%I.%I', $1::text, wanted.name)), wanted.privilege) END
ORDER BY wanted.name, wanted.privilege
