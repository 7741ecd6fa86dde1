-- The jobs with these ids ($1), in their order, until their parameters reach $2 bytes. Locks nothing. Index: jobs_pkey, stages_pkey.
SELECT j.created_at AS "created_at!", j.job_id AS "job_id!: JobId", j.job_type AS "job_type!",
       j.status::text AS "status!: JobStatus", j.stage AS "stage!", j.total_stages AS "total_stages!",
       j.parameters AS "parameters!", '{}'::json AS "stage_results!", j.error_details,
       j.processing_path AS "path!", j.updated_at AS "updated_at!", j.finished_at, j.deadline,
       j.pause_requested AS "is_pause_requested!", j.paused_at, j.definition_id,
       j.open_stages, j.is_child, COALESCE(j.labels, '{}') AS "labels!: StoredLabels",
       COALESCE(j.traceparent, '') AS "trace!: StoredTrace", s.total AS "total!", s.completed AS "completed!",
       s.failed AS "failed!", s.skipped AS "skipped!"
FROM (
    SELECT k.place, k.job_id,
           sum(octet_length(j.parameters::text)) OVER (ORDER BY k.place) - octet_length(j.parameters::text) AS bytes_before
    FROM UNNEST($1::text[]) WITH ORDINALITY AS k (job_id, place)
    JOIN jobs j ON j.job_id = k.job_id
) sized
JOIN jobs j ON j.job_id = sized.job_id
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(s.total), 0)::bigint AS total, COALESCE(sum(s.completed), 0)::bigint AS completed,
           COALESCE(sum(s.failed), 0)::bigint AS failed, COALESCE(sum(s.skipped), 0)::bigint AS skipped
    FROM stages s
    WHERE s.job_id = j.job_id
) s
WHERE sized.bytes_before < $2::bigint
ORDER BY sized.place
