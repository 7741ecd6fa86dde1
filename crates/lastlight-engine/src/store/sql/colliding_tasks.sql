-- Finds a definition whose task id belongs to another place of the plan: the plan yields an index
-- twice, or two semantic indexes became the same when each character outside [A-Za-z0-9-] was
-- replaced by '-'. Each task is found by its whole key, with job and stage beside the id in one row:
-- otherwise a plan made on empty tables would read the whole stage for each. Index: tasks_pkey.
WITH new AS MATERIALIZED (
    SELECT $1::text AS job_id, $2::smallint AS stage, n.task_id, n.ordinal, n.task_index
    FROM UNNEST($3::text[], $4::integer[], $5::text[]) AS n (task_id, ordinal, task_index)
)
SELECT new.task_index AS "wanted!", t.task_index AS present
FROM new
JOIN tasks t ON t.parent_job_id = new.job_id AND t.stage = new.stage AND t.task_id = new.task_id
WHERE t.ordinal <> new.ordinal
ORDER BY new.ordinal
LIMIT 1
