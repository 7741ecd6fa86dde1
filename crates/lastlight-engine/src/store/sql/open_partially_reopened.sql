-- Opens closed stages of finished jobs in which tasks are open again: a retry reopened some of
-- their batches and died. The open stages let these tasks be skipped again. $1: seconds for which
-- such a retry may still be running; $3: the states in which a job runs. Locks: the stages' rows,
-- and the jobs' shared. Index: stages_half_reopened, jobs_pkey.
UPDATE stages s
SET advanced_at = NULL, updated_at = now()
FROM (
    SELECT c.job_id, c.stage
    FROM stages c
    JOIN jobs j ON j.job_id = c.job_id AND j.status::text <> ALL ($3)
    WHERE c.advanced_at IS NOT NULL AND c.completed + c.failed + c.skipped <> c.total
      AND c.updated_at < now() - make_interval(secs => $1)
    LIMIT $2
    FOR UPDATE OF c SKIP LOCKED
    FOR SHARE OF j SKIP LOCKED
) half
WHERE s.job_id = half.job_id AND s.stage = half.stage
