-- Counts for the audit: deliveries that were ignored as duplicates, and outcomes that came too
-- late. Locks: the stages' rows in key order. Index: stages_pkey.
WITH locked AS (
    SELECT s.job_id, s.stage, n.duplicates, n.stale
    FROM UNNEST($1::text[], $2::smallint[], $3::bigint[], $4::bigint[]) AS n (job_id, stage, duplicates, stale)
    JOIN stages s ON s.job_id = n.job_id AND s.stage = n.stage
    ORDER BY s.job_id, s.stage
    FOR UPDATE OF s
)
UPDATE stages s
SET duplicates = s.duplicates + l.duplicates, stale = s.stale + l.stale
FROM locked l
WHERE s.job_id = l.job_id AND s.stage = l.stage
