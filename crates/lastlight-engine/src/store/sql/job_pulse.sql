-- Whether a job is finished, and a hash that changes whenever something happens to it. Index:
-- jobs_pkey, stages_pkey.
SELECT j.finished_at IS NOT NULL AS "is_finished!",
       hashtextextended(format('%s/%s/%s/%s/%s/%s/%s/%s/%s', j.status, j.stage, j.pause_requested, j.paused_at,
                               s.total, s.done, s.failed, s.planned, s.advanced), 0) AS "version!"
FROM jobs j
CROSS JOIN LATERAL (
    SELECT sum(s.total) AS total, sum(s.completed + s.failed + s.skipped) AS done, sum(s.failed) AS failed,
           count(s.planned_at) AS planned, count(s.advanced_at) AS advanced
    FROM stages s
    WHERE s.job_id = j.job_id
) s
WHERE j.job_id = $1
