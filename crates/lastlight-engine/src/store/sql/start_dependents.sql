-- Counts the end of a stage in the rows of its dependents ($2), in the transaction that claimed that
-- end. $3: those of them that cannot run after it. A dependent that waits for nothing else is ready: one
-- that cannot run or decides by itself has ended, and one with tasks gets its unsent job message, unless
-- the job is to pause, and is paused here. A dependent that was ready before is left alone. $4: seconds
-- before anyone but the caller may send the messages; $5: the states in which a job runs. Returns no row
-- if the job is finished; then the caller must roll back. Locks: the dependents' rows in the order of
-- stages, then the job's. Index: stages_pkey, jobs_pkey.
WITH waiting AS MATERIALIZED (
    SELECT s.job_id, s.stage
    FROM stages s
    WHERE s.job_id = $1 AND s.stage = ANY ($2::smallint[]) AND s.waits_for > 0
    ORDER BY s.stage
    FOR UPDATE OF s
), counted AS (
    UPDATE stages s
    SET waits_for = s.waits_for - 1,
        unmet = s.unmet IS TRUE OR s.stage = ANY ($3::smallint[]),
        planned_at = CASE
            WHEN s.waits_for = 1 AND (s.unmet IS TRUE OR s.stage = ANY ($3::smallint[]) OR s.kind = 'decision')
            THEN now() END,
        created_at = CASE WHEN s.waits_for = 1 THEN now() ELSE s.created_at END,
        updated_at = now()
    FROM waiting w
    WHERE s.job_id = w.job_id AND s.stage = w.stage AND s.waits_for > 0
    RETURNING s.job_id, s.stage, s.waits_for, s.planned_at, s.kind
), ready AS MATERIALIZED (
    SELECT stage, kind, planned_at IS NOT NULL AS has_ended FROM counted WHERE waits_for = 0
), moved AS (
    UPDATE jobs j
    SET open_stages = j.open_stages - 1, updated_at = now(),
        stage = GREATEST(j.stage, (SELECT max(r.stage) FROM ready r)),
        paused_at = CASE
            WHEN j.paused_at IS NULL AND j.pause_requested
                 AND EXISTS (SELECT FROM ready r WHERE r.kind = 'tasks' AND NOT r.has_ended)
            THEN now() ELSE j.paused_at END
    WHERE j.job_id = $1 AND j.status::text = ANY ($5)
    RETURNING j.job_id, j.open_stages, j.paused_at
), unsent AS (
    INSERT INTO outbox (job_id, stage, next_send_at)
    SELECT m.job_id, r.stage, now() + make_interval(secs => $4)
    FROM moved m
    CROSS JOIN ready r
    WHERE m.paused_at IS NULL AND r.kind = 'tasks' AND NOT r.has_ended
    RETURNING stage
)
SELECT m.open_stages AS "open_stages!", m.paused_at IS NOT NULL AS "is_paused!",
       ARRAY(SELECT stage FROM unsent ORDER BY stage) AS "unsent!: Vec<i16>",
       ARRAY(SELECT stage FROM ready WHERE has_ended ORDER BY stage) AS "ended!: Vec<i16>",
       ARRAY(SELECT stage FROM ready WHERE kind = 'job' AND NOT has_ended ORDER BY stage) AS "jobs!: Vec<i16>"
FROM moved m
