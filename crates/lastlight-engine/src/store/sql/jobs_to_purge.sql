-- Up to $1 jobs that are marked for deletion, those first that were marked first; if $2, only those whose run is in the archive. A job
-- that an attempt writes to the archive, or that waits for its next one, is left out. Index: jobs_purging.
SELECT job_id
FROM jobs
WHERE purging_at IS NOT NULL
  AND (archived_run >= run OR NOT $2 AND COALESCE(archiving_until <= now(), true))
ORDER BY purging_at
LIMIT $1
