-- The stages of a job so far, in order. `unsent` counts the tasks whose messages are unsent: those of
-- unsent batches, and deferred tasks, the latter counted up to 100,000. Index: stages_pkey,
-- task_batches_pkey, tasks_deferred_of_stage.
SELECT s.stage, s.total, s.completed, s.failed, s.skipped, s.created_at, s.planned_at, s.advanced_at, now() AS "read_at!",
       COALESCE((SELECT sum(cardinality(b.task_ids))
                 FROM task_batches b
                 WHERE b.job_id = s.job_id AND b.stage = s.stage AND b.status = 'pending_queue'), 0)::bigint
       + (SELECT count(*)
          FROM (SELECT FROM tasks t
                WHERE t.parent_job_id = s.job_id AND t.stage = s.stage AND t.next_send_at IS NOT NULL
                  AND t.status = 'pending_queue'
                LIMIT 100000) AS deferred) AS "unsent!"
FROM stages s
WHERE s.job_id = $1
ORDER BY s.stage
