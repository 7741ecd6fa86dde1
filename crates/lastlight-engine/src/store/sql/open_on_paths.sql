-- Number of jobs of the paths $1 that are neither finished nor paused, counted up to $2. Index:
-- jobs_by_status. Locks nothing.
SELECT count(*) AS "count!"
FROM (SELECT FROM jobs j
      WHERE j.status IN ('queued', 'processing') AND j.paused_at IS NULL AND j.processing_path = ANY ($1)
      LIMIT $2) open
