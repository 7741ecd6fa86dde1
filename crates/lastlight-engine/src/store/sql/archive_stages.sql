-- The stages of a job, in order, with everything that the archive keeps. Index: stages_pkey.
SELECT stage, name, kind, total, completed, failed, skipped, batches, outcome, best_effort, is_finalize, needed_by, followed_by, not_chosen,
       decision, timeout_seconds, on_timeout, child_job_id, output, result, created_at, planned_at, advanced_at
FROM stages
WHERE job_id = $1
ORDER BY stage
