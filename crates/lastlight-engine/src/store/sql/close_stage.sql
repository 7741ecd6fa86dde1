-- Closes a stage of a finished job, once none of its tasks is open. A last stage that ran after the job's end does not
-- run again: it has failed. $3: the states in which a job runs. Locks: the stage's row. Index: stages_pkey, jobs_pkey.
UPDATE stages s
SET advanced_at = now(), lease_owner = NULL, lease_until = NULL, updated_at = now(),
    outcome = CASE WHEN s.is_finalize AND j.ends_as IS NOT NULL THEN 'failed' ELSE s.outcome END
FROM jobs j
WHERE s.job_id = $1 AND s.stage = $2 AND s.advanced_at IS NULL AND s.completed + s.failed + s.skipped = s.total
  AND j.job_id = s.job_id AND j.status::text <> ALL ($3)
