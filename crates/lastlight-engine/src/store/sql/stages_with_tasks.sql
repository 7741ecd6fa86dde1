-- The stages of jobs, newest job first, from the key ($1, $2, $3) on, or from the newest on, that
-- can contain tasks of status $7 (null: any) according to their counters: the first $8 of job type
-- $5 and stage $6 (null: any) in the next $9 jobs that were created in the last $4 hours. If fewer
-- than $8 match, a last row, without a stage, gives the position where the search stopped. Locks
-- nothing. Index: jobs_newest, stages_pkey.
WITH page AS MATERIALIZED (
    SELECT looked.created_at, looked.job_id, looked.place, s.stage
    FROM (
        SELECT j.created_at, j.job_id, j.job_type,
               row_number() OVER (ORDER BY j.created_at DESC, j.job_id DESC) AS place
        FROM jobs j
        WHERE (j.created_at, j.job_id) <= (COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND j.created_at >= now() - make_interval(hours => $4::integer)
        ORDER BY j.created_at DESC, j.job_id DESC
        LIMIT $9::bigint
    ) looked
    JOIN stages s ON s.job_id = looked.job_id
    WHERE ($5::text IS NULL OR looked.job_type = $5) AND ($6::smallint IS NULL OR s.stage = $6)
      AND ($2::text IS NULL OR looked.job_id <> $2 OR s.stage >= $3::smallint)
      AND CASE $7::text
          WHEN 'completed' THEN s.completed > 0
          WHEN 'failed' THEN s.failed > 0
          WHEN 'skipped' THEN s.skipped > 0
          ELSE s.total > CASE WHEN $7 IS NULL THEN 0 ELSE s.completed + s.failed + s.skipped END
      END
    ORDER BY looked.created_at DESC, looked.job_id DESC, s.stage
    LIMIT $8::bigint
), stop AS (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT j.created_at, j.job_id, row_number() OVER (ORDER BY j.created_at DESC, j.job_id DESC) AS place
        FROM jobs j
        WHERE (j.created_at, j.job_id) <= (COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND j.created_at >= now() - make_interval(hours => $4::integer)
          AND (SELECT count(*) FROM page) < $8
        ORDER BY j.created_at DESC, j.job_id DESC
        LIMIT $9::bigint
    ) looked
    ORDER BY looked.place DESC
    LIMIT 1
)
SELECT created_at AS "created_at!", job_id AS "job_id!: JobId", place AS "place!", stage AS "stage?: Stage", true AS is_stage
FROM page
UNION ALL
SELECT created_at, job_id, place, NULL, false FROM stop
ORDER BY is_stage DESC, "place!", "stage?: Stage"
