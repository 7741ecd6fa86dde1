-- Jobs of status $9, newest first, after the key ($1, $2), or from the newest on, created in the last $3 hours, or
-- since $11: the first $6 of job type $4 and path $5 (null: any) among the next $7, until their parameters reach $8
-- bytes. If fewer than $6 match, a last row, without a job, gives the position where the search stopped. The status
-- is a part of the key, so that no other index serves the order. Locks nothing. Index: jobs_by_status, jobs_pkey,
-- stages_pkey.
WITH page AS MATERIALIZED (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT j.created_at, j.job_id, j.job_type, j.processing_path, j.paused_at, j.status,
               row_number() OVER (ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC) AS place
        FROM jobs j
        WHERE (j.status, j.created_at, j.job_id)
              < ($9::text::job_status, COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND (j.status, j.created_at)
              >= ($9::text::job_status, COALESCE($11::timestamptz, now() - make_interval(hours => $3::integer)))
        ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC
        LIMIT $7::bigint
    ) looked
    WHERE ($4::text IS NULL OR looked.job_type = $4) AND ($5::text IS NULL OR looked.processing_path = $5)
      AND (NOT $10::boolean OR looked.paused_at IS NOT NULL)
    ORDER BY looked.status DESC, looked.created_at DESC, looked.job_id DESC
    LIMIT $6::bigint
), stop AS (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT j.created_at, j.job_id, row_number() OVER (ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC) AS place
        FROM jobs j
        WHERE (j.status, j.created_at, j.job_id)
              < ($9::text::job_status, COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND (j.status, j.created_at)
              >= ($9::text::job_status, COALESCE($11::timestamptz, now() - make_interval(hours => $3::integer)))
          AND (SELECT count(*) FROM page) < $6
        ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC
        LIMIT $7::bigint
    ) looked
    ORDER BY looked.place DESC
    LIMIT 1
), sized AS (
    SELECT page.created_at, page.job_id, page.place, true AS is_job,
           sum(octet_length(j.parameters::text)) OVER (ORDER BY page.place) - octet_length(j.parameters::text)
               AS bytes_before
    FROM page
    JOIN jobs j ON j.job_id = page.job_id
)
SELECT keys.place AS "place!", keys.created_at AS "created_at!", keys.job_id AS "job_id!: JobId", j.job_type AS "job_type?",
       j.status::text AS "status?: JobStatus", j.stage AS "stage?", j.total_stages AS "total_stages?",
       j.parameters AS "parameters?", '{}'::json AS "stage_results!", j.error_details AS "error_details?",
       j.processing_path AS "path?", j.updated_at AS "updated_at?", j.finished_at AS "finished_at?", j.deadline AS "deadline?",
       j.pause_requested AS "is_pause_requested?", j.paused_at AS "paused_at?", j.definition_id AS "definition_id?",
       j.open_stages AS "open_stages?", j.is_child AS "is_child?", COALESCE(j.labels, '{}') AS "labels!: StoredLabels",
       COALESCE(j.traceparent, '') AS "trace!: StoredTrace", s.total AS "total!", s.completed AS "completed!",
       s.failed AS "failed!", s.skipped AS "skipped!"
FROM (
    SELECT place, is_job, created_at, job_id FROM sized WHERE bytes_before < $8::bigint
    UNION ALL
    SELECT place, false, created_at, job_id
    FROM stop
    WHERE NOT EXISTS (SELECT FROM sized WHERE bytes_before >= $8::bigint)
) keys
LEFT JOIN jobs j ON keys.is_job AND j.job_id = keys.job_id
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(s.total), 0)::bigint AS total, COALESCE(sum(s.completed), 0)::bigint AS completed,
           COALESCE(sum(s.failed), 0)::bigint AS failed, COALESCE(sum(s.skipped), 0)::bigint AS skipped
    FROM stages s
    WHERE s.job_id = j.job_id
) s
ORDER BY keys.is_job DESC, keys.place
