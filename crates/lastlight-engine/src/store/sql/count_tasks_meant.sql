-- How many of the next $4 tasks of a stage, from the id $3 on, have one of the states $5 and an error that contains $6 (null: any), and
-- were not skipped by a user, unless $7; with the number of tasks looked at and the last of them. Locks nothing. Index: tasks_pkey.
SELECT count(*) AS "looked!", max(l.task_id) AS last,
       count(*) FILTER (WHERE l.status::text = ANY ($5) AND ($7 OR l.skipped_by_user IS NOT TRUE)
                          AND ($6::text IS NULL OR strpos(l.error_details, $6) > 0)) AS "meant!"
FROM (
    SELECT t.task_id, t.status, t.skipped_by_user, CASE WHEN $6::text IS NOT NULL THEN t.error_details END AS error_details
    FROM tasks t
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id >= $3
    ORDER BY t.task_id
    LIMIT $4
) l
