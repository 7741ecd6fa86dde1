-- Ends the stages whose job has finished: one job ($1), or any. Locks: the stages' rows. Index:
-- stages_of_child, jobs_pkey.
UPDATE stages s
SET planned_at = now(), updated_at = now(),
    decision = CASE WHEN e.status = 'completed' THEN 'approve' ELSE 'fail' END,
    output = json_build_object('success', e.status = 'completed', 'job_id', e.child_job_id, 'status', e.status,
                               'result', e.result_data, 'error', e.error_details)
FROM (
    SELECT w.job_id, w.stage, w.child_job_id, c.status::text AS status, c.result_data, c.error_details
    FROM stages w
    JOIN jobs c ON c.job_id = w.child_job_id AND c.finished_at IS NOT NULL
    WHERE w.child_job_id IS NOT NULL AND w.child_job_id = COALESCE($1, w.child_job_id)
      AND w.advanced_at IS NULL AND w.planned_at IS NULL
    ORDER BY w.job_id, w.stage
    LIMIT $2
    FOR UPDATE OF w SKIP LOCKED
) e
WHERE s.job_id = e.job_id AND s.stage = e.stage
RETURNING s.job_id, s.stage
