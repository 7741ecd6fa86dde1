-- The stages of a graph, in order. Index: stages_pkey.
SELECT stage, name AS "name!", kind AS "kind!", needed_by AS "needed_by!", followed_by AS "followed_by!",
       waits_for AS "waits_for!", COALESCE(unmet, false) AS "unmet!", COALESCE(best_effort, false) AS "best_effort!",
       outcome, not_chosen, decision,
       CASE WHEN kind = 'gate' AND waits_for = 0 AND planned_at IS NULL AND advanced_at IS NULL
            THEN created_at + make_interval(secs => timeout_seconds) END AS decide_until,
       child_job_id, output, result, advanced_at IS NOT NULL AS "is_closed!"
FROM stages
WHERE job_id = $1 AND kind IS NOT NULL
ORDER BY stage
