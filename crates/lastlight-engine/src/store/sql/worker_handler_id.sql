-- The id of a handler, which is written if it is new. Index: worker_handlers_queue_name_key.
WITH known AS (
    SELECT handler_id FROM worker_handlers WHERE queue = $1 AND name = $2
), new AS (
    INSERT INTO worker_handlers (queue, name)
    SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (queue, name) DO UPDATE SET name = EXCLUDED.name
    RETURNING handler_id
)
SELECT handler_id AS "handler_id!" FROM known UNION ALL SELECT handler_id FROM new
