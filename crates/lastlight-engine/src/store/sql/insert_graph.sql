-- Stores the submission of a job whose stages form a graph: the job, all stages, and the unsent job
-- messages of those that are ready; nothing if the job exists. Or begins the next run ($22) of a job whose run before was cleared, as in
-- insert_job.sql. A decision that is ready has ended. $6:
-- seconds before anyone but the submitter may send the messages; $7: seconds until the deadline; $8:
-- the trace; $9: the definition; $10: the status to begin with; $3:
-- the last stage that is ready. $11 to $17 and $21: the stages; $18 to $20:
-- their dependencies, as pairs of stages; $23: the labels; $24, $25: the job's terms; $26: the addresses to notify. Locks: the new rows only, or the job's row. Index: jobs_pkey, for the conflict;
-- deleted_jobs_pkey; job_terms_pkey.
WITH new_job AS (
    INSERT INTO jobs (job_id, job_type, total_stages, parameters, processing_path, deadline, traceparent, definition_id,
                      status, open_stages, stage, run, attempts_before, labels, notify)
    VALUES ($1, $2, cardinality($11::smallint[]), $4::json, $5, now() + make_interval(secs => $7), $8, $9, $10::text::job_status,
            cardinality($11::smallint[]), $3,
            COALESCE((SELECT d.run + 1 FROM deleted_jobs d WHERE d.job_id = $1), 1),
            COALESCE((SELECT d.attempts_before FROM deleted_jobs d WHERE d.job_id = $1), 0),
            $23::json, $26)
    ON CONFLICT (job_id) DO UPDATE
    SET status = EXCLUDED.status, stage = EXCLUDED.stage, total_stages = EXCLUDED.total_stages, stage_results = '{}',
        result_data = NULL, error_details = NULL, created_at = now(), updated_at = now(), finished_at = NULL,
        deadline = EXCLUDED.deadline, traceparent = EXCLUDED.traceparent, pause_requested = false, paused_at = NULL,
        measured_at = NULL, purging_at = NULL, is_resubmitted = false, run = jobs.run + 1,
        definition_id = EXCLUDED.definition_id, open_stages = EXCLUDED.open_stages, ends_as = NULL,
        labels = EXCLUDED.labels
    WHERE $22 AND jobs.is_resubmitted AND jobs.purging_at IS NOT NULL
    RETURNING job_id, created_at
), terms AS (
    INSERT INTO job_terms (job_id, name, value, created_at)
    SELECT n.job_id, t.name, t.value, n.created_at
    FROM new_job n
    CROSS JOIN UNNEST($24::text[], $25::text[]) AS t (name, value)
    ON CONFLICT (job_id, name) DO UPDATE SET value = EXCLUDED.value, created_at = EXCLUDED.created_at
), edges AS MATERIALIZED (
    SELECT e.source, e.target, e.is_needed
    FROM UNNEST($18::smallint[], $19::smallint[], $20::boolean[]) AS e (source, target, is_needed)
), new_stages AS (
    INSERT INTO stages (job_id, stage, name, kind, best_effort, is_finalize, timeout_seconds, on_timeout, needed_by, followed_by,
                        waits_for, planned_at)
    SELECT n.job_id, g.stage, g.name, g.kind, g.best_effort, NULLIF(g.is_finalize, false), g.timeout_seconds, g.on_timeout,
           ARRAY(SELECT e.target FROM edges e WHERE e.source = g.stage AND e.is_needed ORDER BY e.target),
           ARRAY(SELECT e.target FROM edges e WHERE e.source = g.stage AND NOT e.is_needed ORDER BY e.target),
           g.waits_for, CASE WHEN g.waits_for = 0 AND g.kind = 'decision' THEN now() END
    FROM new_job n
    CROSS JOIN UNNEST($11::smallint[], $12::text[], $13::text[], $14::boolean[], $15::integer[], $16::text[], $17::smallint[],
                      $21::boolean[])
               AS g (stage, name, kind, best_effort, timeout_seconds, on_timeout, waits_for, is_finalize)
    RETURNING job_id, stage, kind, waits_for
), unsent AS (
    INSERT INTO outbox (job_id, stage, next_send_at)
    SELECT job_id, stage, now() + make_interval(secs => $6)
    FROM new_stages
    WHERE waits_for = 0 AND kind = 'tasks'
)
SELECT EXISTS (SELECT FROM new_job) AS "is_new!"
