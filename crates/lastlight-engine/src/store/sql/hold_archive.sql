-- Extends the time for which an attempt ($2) is presumed to write a job to the archive, to $3 seconds from now. No row: another attempt has
-- taken its place, or the run is in the archive. Locks: the job's row. Index: jobs_pkey.
UPDATE jobs
SET archiving_until = now() + make_interval(secs => $3)
WHERE job_id = $1 AND archiving_by = $2 AND archived_run < run
RETURNING job_id
