-- Up to $9 jobs that are over for long enough, the oldest of each job type first, with these states ($6) and of this job type ($7) unless it
-- is null; they are marked for deletion if $8. $4, $5: seconds for which jobs are kept that completed or were cancelled, and those
-- that failed; $1, $2, $3: job types with their own, whether for failed jobs, and the seconds. Each job type that there is
-- gets a look at its oldest jobs, so no job is read that is still to be kept. Left for later are jobs that are not measured yet, or
-- that wait for their last stage, and those whose result another job still waits for. Locks: the jobs' rows, skips rows that are
-- locked. Index: jobs_over, jobs_pkey, stages_pkey, stages_of_child.
WITH RECURSIVE types (job_type) AS (
    (SELECT j.job_type FROM jobs j
     WHERE j.job_type >= COALESCE($7::text, '') AND j.finished_at IS NOT NULL AND j.purging_at IS NULL
     ORDER BY j.job_type LIMIT 1)
    UNION ALL
    SELECT (SELECT j.job_type FROM jobs j
            WHERE j.job_type > types.job_type AND j.finished_at IS NOT NULL AND j.purging_at IS NULL
            ORDER BY j.job_type LIMIT 1)
    FROM types
    WHERE types.job_type IS NOT NULL AND $7::text IS NULL
), rules AS MATERIALIZED (
    SELECT t.job_type, f.is_failed,
           COALESCE((SELECT own.seconds
                     FROM UNNEST($1::text[], $2::boolean[], $3::double precision[]) AS own (job_type, is_failed, seconds)
                     WHERE own.job_type = t.job_type AND own.is_failed = f.is_failed),
                    CASE WHEN f.is_failed THEN $5::double precision ELSE $4::double precision END) AS seconds
    FROM types t
    CROSS JOIN (VALUES (false), (true)) AS f (is_failed)
    WHERE t.job_type = COALESCE($7::text, t.job_type)
), over AS MATERIALIZED (
    SELECT o.job_id, o.job_type, o.status, o.finished_at
    FROM rules r
    CROSS JOIN LATERAL (
        SELECT j.job_id, j.job_type, j.status, j.finished_at
        FROM jobs j
        WHERE j.job_type = r.job_type AND (j.status = 'failed') = r.is_failed AND j.status::text = ANY ($6)
          AND j.finished_at < now() - make_interval(secs => r.seconds) AND j.purging_at IS NULL
          AND j.measured_at >= j.finished_at
          AND NOT EXISTS (
              SELECT FROM stages s
              WHERE s.job_id = j.job_id
                AND (s.advanced_at IS NULL OR s.measured_at IS NULL OR s.measured_at < s.advanced_at
                     OR s.is_finalize AND s.outcome IS NULL AND s.waits_for > 0))
          AND NOT EXISTS (SELECT FROM stages p WHERE p.child_job_id = j.job_id AND p.advanced_at IS NULL)
        ORDER BY j.finished_at
        LIMIT $9
        FOR UPDATE OF j SKIP LOCKED
    ) o
    LIMIT $9
), marked AS (
    UPDATE jobs j
    SET purging_at = now()
    FROM over o
    WHERE j.job_id = o.job_id AND $8
)
SELECT job_id, job_type, status::text AS "status!: JobStatus", finished_at AS "finished_at!" FROM over
