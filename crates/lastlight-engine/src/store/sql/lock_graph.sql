-- Locks the stages of a graph in their order, so that a retry of its job sees them as they are. The tasks that a user skipped are not
-- counted as skipped. Index: stages_pkey, tasks_pkey.
SELECT stage, kind AS "kind!", waits_for AS "waits_for!", COALESCE(unmet, false) AS "unmet!",
       COALESCE(best_effort, false) AS "best_effort!", outcome, needed_by AS "needed_by!", followed_by AS "followed_by!",
       not_chosen, failed,
       CASE WHEN skipped > 0 THEN (
           SELECT count(*) FROM tasks t
           WHERE t.parent_job_id = stages.job_id AND t.stage = stages.stage AND t.status = 'skipped' AND t.skipped_by_user IS NOT TRUE)
       ELSE 0 END AS "skipped!", advanced_at IS NOT NULL AS "is_advanced!",
       completed + failed + skipped = total AS "has_outcomes!", COALESCE(is_finalize, false) AS "is_finalize!",
       kind = 'tasks' AND output IS NOT NULL AS "is_unplannable!"
FROM stages
WHERE job_id = $1 AND kind IS NOT NULL
ORDER BY stage
FOR UPDATE
