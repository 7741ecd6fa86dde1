-- Sets a stage's counters to a recount, under its lock, and notes it in the events of its job. Index: stages_pkey.
WITH repaired AS (
    UPDATE stages
    SET total = $3, completed = $4, failed = $5, skipped = $6, updated_at = now()
    WHERE job_id = $1 AND stage = $2
    RETURNING job_id, stage
)
SELECT count(note_repair(job_id, stage, 'counters_repaired', 1)) AS "stages!" FROM repaired
