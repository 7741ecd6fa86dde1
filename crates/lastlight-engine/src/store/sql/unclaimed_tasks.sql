-- Why tasks could not be claimed: one row for each requested task. Index: tasks_pkey, jobs_pkey,
-- stages_pkey.
SELECT wanted.place AS "place!",
       j.status::text AS "job_status: JobStatus",
       t.status::text AS "task_status: TaskStatus",
       s.planned_at IS NOT NULL AND s.advanced_at IS NULL
           AND s.completed + s.failed + s.skipped = s.total AS ended
FROM UNNEST($1::text[], $2::smallint[], $3::text[]) WITH ORDINALITY AS wanted (job_id, stage, task_id, place)
LEFT JOIN jobs j ON j.job_id = wanted.job_id
LEFT JOIN tasks t ON t.parent_job_id = wanted.job_id AND t.stage = wanted.stage AND t.task_id = wanted.task_id
LEFT JOIN stages s ON s.job_id = wanted.job_id AND s.stage = wanted.stage
