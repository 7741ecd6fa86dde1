-- Up to $5 jobs that are over since more than $1 seconds, with these states ($2), and of this job type ($3) unless it is
-- null; they are marked for deletion if $4. Each job type that there is gets a look at its oldest jobs. Left out are jobs that are not
-- measured yet, or that wait for their last stage, and those whose result another job still waits for. Locks: the jobs'
-- rows, skips rows that are locked. Index: jobs_over, jobs_pkey, stages_pkey, stages_of_child.
WITH RECURSIVE types (job_type) AS (
    (SELECT j.job_type FROM jobs j
     WHERE j.job_type >= COALESCE($3::text, '') AND j.finished_at IS NOT NULL AND j.purging_at IS NULL
     ORDER BY j.job_type LIMIT 1)
    UNION ALL
    SELECT (SELECT j.job_type FROM jobs j
            WHERE j.job_type > types.job_type AND j.finished_at IS NOT NULL AND j.purging_at IS NULL
            ORDER BY j.job_type LIMIT 1)
    FROM types
    WHERE types.job_type IS NOT NULL AND $3::text IS NULL
), over AS MATERIALIZED (
    SELECT o.job_id, o.job_type, o.status, o.finished_at
    FROM types t
    CROSS JOIN (VALUES (false), (true)) AS f (is_failed)
    CROSS JOIN LATERAL (
        SELECT j.job_id, j.job_type, j.status, j.finished_at
        FROM jobs j
        WHERE j.job_type = t.job_type AND (j.status = 'failed') = f.is_failed AND j.status::text = ANY ($2)
          AND j.finished_at < now() - make_interval(secs => $1) AND j.purging_at IS NULL
          AND j.measured_at >= j.finished_at
          AND NOT EXISTS (
              SELECT FROM stages s
              WHERE s.job_id = j.job_id
                AND (s.advanced_at IS NULL OR s.measured_at IS NULL OR s.measured_at < s.advanced_at
                     OR s.is_finalize AND s.outcome IS NULL AND s.waits_for > 0))
          AND NOT EXISTS (SELECT FROM stages p WHERE p.child_job_id = j.job_id AND p.advanced_at IS NULL)
        ORDER BY j.finished_at
        LIMIT $5
        FOR UPDATE OF j SKIP LOCKED
    ) o
    WHERE t.job_type = COALESCE($3::text, t.job_type)
    LIMIT $5
), marked AS (
    UPDATE jobs j
    SET purging_at = now()
    FROM over o
    WHERE j.job_id = o.job_id AND $4
)
SELECT job_id, job_type, status::text AS "status!: JobStatus", finished_at AS "finished_at!" FROM over
