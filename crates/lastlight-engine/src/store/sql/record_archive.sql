-- Records that a run ($3) of a job is in the archive, with an event that says where ($4). No row: another attempt than $2 writes the run by
-- now, so that its blob may still change. Locks: the job's row. Index: jobs_pkey.
WITH recorded AS (
    UPDATE jobs j
    SET archived_run = j.run, archiving_by = NULL, archiving_until = NULL
    WHERE j.job_id = $1 AND j.archiving_by = $2 AND j.run = $3 AND j.archived_run < j.run AND j.purging_at IS NOT NULL
    RETURNING j.job_id, j.run
), noted AS MATERIALIZED (
    SELECT job_id, note_archived(job_id, run, $4::json) FROM recorded
)
SELECT job_id FROM noted
