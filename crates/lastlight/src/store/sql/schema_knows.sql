-- Whether the schema of the search path has the table of sqlx's migrations, and whether it says
-- from which migration on a binary works on it. By the catalog's indexes; locks nothing.
SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS has_migrations,
       to_regprocedure('works_from()') IS NOT NULL AS has_works_from
