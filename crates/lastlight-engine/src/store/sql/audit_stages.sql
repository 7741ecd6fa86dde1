-- The stages of a job with their counters, a recount of their tasks, and the messages sent for
-- them. Attempts are those of this run. Index: stages_pkey, jobs_pkey, tasks_pkey, task_batches_pkey.
SELECT s.stage, s.total, s.completed, s.failed, s.skipped, s.duplicates, s.stale,
       s.planned_at IS NOT NULL AS "is_planned!", s.advanced_at IS NOT NULL AS "is_finished!",
       t.total AS "tasks!", t.completed AS "tasks_completed!", t.failed AS "tasks_failed!",
       t.skipped AS "tasks_skipped!", t.resent AS "tasks_resent!", t.attempts AS "attempts!",
       b.messages AS "batch_messages!", b.first AS "first_messages!", b.unsent AS "batches_unsent!",
       CASE WHEN s.advanced_at IS NOT NULL
            THEN GREATEST(0, date_part('epoch', t.last_end - COALESCE(b.began, t.first_end))) END AS busy_seconds
FROM stages s
JOIN jobs j ON j.job_id = s.job_id
CROSS JOIN LATERAL (
    SELECT count(*) AS total,
           count(*) FILTER (WHERE t.status = 'completed') AS completed,
           count(*) FILTER (WHERE t.status = 'failed') AS failed,
           count(*) FILTER (WHERE t.status = 'skipped') AS skipped,
           COALESCE(sum(t.retry_count), 0)::bigint AS resent,
           COALESCE(sum(GREATEST(t.attempt - j.attempts_before, 0)), 0)::bigint AS attempts,
           min(t.finished_at) AS first_end, max(t.finished_at) AS last_end
    FROM tasks t
    WHERE t.parent_job_id = s.job_id AND t.stage = s.stage
) t
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(b.messages), 0)::bigint AS messages,
           COALESCE(sum(CASE WHEN b.tasks_per_message > 1 THEN 1 ELSE cardinality(b.task_ids) END)
                    FILTER (WHERE b.sends > 0), 0)::bigint AS first,
           count(*) FILTER (WHERE b.status = 'pending_queue') AS unsent,
           min(b.created_at) AS began
    FROM task_batches b
    WHERE b.job_id = s.job_id AND b.stage = s.stage
) b
WHERE s.job_id = $1
ORDER BY s.stage
