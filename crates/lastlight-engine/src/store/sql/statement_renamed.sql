-- Whether the server knows this very statement under a name that the driver did not give it. By no
-- index; locks nothing.
SELECT EXISTS (
    SELECT FROM pg_prepared_statements
    WHERE statement LIKE '-- Whether the server knows this very statement%' AND name NOT LIKE 'sqlx\_s\_%'
) AS "is_renamed!"
