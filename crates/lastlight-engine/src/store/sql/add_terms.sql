-- Writes the terms ($2, $3, $4: of which job, their names and values) of those of the jobs $1 that have none yet, which have no labels
-- either; returns how many jobs these are. Locks: the jobs' rows, skips rows that are locked. Index: jobs_pkey.
WITH held AS MATERIALIZED (
    SELECT j.job_id, j.created_at
    FROM UNNEST($1::text[]) AS w (job_id)
    JOIN jobs j ON j.job_id = w.job_id
    -- As text, so that the jobs are read by their ids and not by the index of all jobs without terms.
    WHERE j.labels::text IS NULL
    ORDER BY j.job_id
    FOR UPDATE OF j SKIP LOCKED
), marked AS (
    UPDATE jobs j
    SET labels = '{}'
    FROM held h
    WHERE j.job_id = h.job_id
), terms AS (
    INSERT INTO job_terms (job_id, name, value, created_at)
    SELECT h.job_id, t.name, t.value, h.created_at
    FROM UNNEST($2::text[], $3::text[], $4::text[]) AS t (job_id, name, value)
    JOIN held h ON h.job_id = t.job_id
)
SELECT count(*) AS "count!" FROM held
