-- Unfinished jobs by path, type, status ('paused' if a user paused the job) and current stage; the
-- tasks of these stages; and for how many seconds nothing has happened to the job that has been
-- without progress for longest. At most $1 jobs of each status, the oldest. Index: jobs_by_status,
-- stages_pkey. Locks nothing.
SELECT o.processing_path AS path, o.job_type, o.shown_as AS "status!", o.stage, count(*) AS "jobs!",
       max(extract(epoch FROM now() - GREATEST(o.updated_at, s.updated_at)))::float8 AS "longest_paused!: Seconds",
       COALESCE(sum(s.total - s.completed - s.failed - s.skipped), 0)::bigint AS "open_tasks!",
       COALESCE(sum(s.completed), 0)::bigint AS "completed!", COALESCE(sum(s.failed), 0)::bigint AS "failed!",
       COALESCE(sum(s.skipped), 0)::bigint AS "skipped!"
FROM unnest(ARRAY['queued', 'processing']::job_status[]) AS of (status)
CROSS JOIN LATERAL (
    SELECT j.job_id, j.job_type, j.processing_path, j.stage, j.updated_at,
           CASE WHEN j.paused_at IS NULL THEN j.status::text ELSE 'paused' END AS shown_as
    FROM jobs j
    WHERE j.status = of.status
    ORDER BY j.created_at
    LIMIT $1
) o
LEFT JOIN stages s ON s.job_id = o.job_id AND s.stage = o.stage
GROUP BY o.processing_path, o.job_type, o.shown_as, o.stage
ORDER BY o.processing_path, o.job_type, o.shown_as, o.stage
