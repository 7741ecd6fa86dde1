-- Requests that a job stops at the end of its stage; a job that waits for the planner of its next
-- stage stops at once, and its unsent job message is deleted. $2: the states in which a job runs.
-- Locks: the job's row. Index: jobs_pkey, outbox_pkey, stages_pkey.
WITH requested AS (
    UPDATE jobs j
    SET pause_requested = true, updated_at = now(),
        paused_at = CASE
            WHEN j.paused_at IS NULL AND j.status = 'queued' AND EXISTS (
                SELECT FROM stages s
                WHERE s.job_id = j.job_id AND s.stage = j.stage AND s.planned_at IS NULL AND s.lease_owner IS NULL)
            THEN now() ELSE j.paused_at END
    WHERE j.job_id = $1 AND j.status::text = ANY ($2)
    RETURNING j.job_id, j.paused_at
), forgotten AS (
    DELETE FROM outbox WHERE job_id = (SELECT job_id FROM requested WHERE paused_at IS NOT NULL)
)
SELECT paused_at IS NOT NULL AS "is_paused!" FROM requested
