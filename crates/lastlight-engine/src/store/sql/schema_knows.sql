-- Whether the schema of the search path has sqlx's table of migrations, and whether it has the
-- function works_from(), which returns the newest migration that a binary must know. By the
-- catalog's indexes; locks nothing.
SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "has_migrations!",
       to_regprocedure('works_from()') IS NOT NULL AS "has_works_from!"
