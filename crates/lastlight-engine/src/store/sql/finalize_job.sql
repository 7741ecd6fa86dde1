-- Starts the last stage ($2) of a job that ended before it; the job ends as before once that stage has ended. Runs after
-- lock_ended_job.sql and lock_graph.sql in one transaction. $3: seconds until the job's new deadline. Locks: the rows that are
-- locked already. Index: jobs_pkey, stages_pkey, outbox_pkey.
WITH opened AS (
    UPDATE jobs
    SET status = 'processing', ends_as = status, stage = $2, open_stages = 1, finished_at = NULL, pause_requested = false,
        paused_at = NULL, deadline = now() + make_interval(secs => $3), updated_at = now()
    WHERE job_id = $1
    RETURNING job_id
), ready AS (
    UPDATE stages s
    SET waits_for = 0, unmet = false, planned_at = NULL, advanced_at = NULL, created_at = now(), updated_at = now()
    FROM opened o
    WHERE s.job_id = o.job_id AND s.stage = $2
    RETURNING s.job_id, s.stage
)
INSERT INTO outbox (job_id, stage, next_send_at)
SELECT job_id, stage, now() FROM ready
