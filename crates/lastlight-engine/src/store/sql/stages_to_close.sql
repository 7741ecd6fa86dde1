-- Open stages of finished jobs: their open tasks are to be skipped. $2: the states in which a job
-- runs. Index: stages_open, jobs_pkey.
SELECT s.job_id, s.stage, s.child_job_id IS NOT NULL AS "has_child!"
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status::text <> ALL ($2)
WHERE s.advanced_at IS NULL
LIMIT $1
