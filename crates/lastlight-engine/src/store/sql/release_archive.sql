-- Ends an attempt ($2) to write a job to the archive; another one may begin in $3 seconds. Locks: the job's row. Index: jobs_pkey.
UPDATE jobs
SET archiving_by = NULL, archiving_until = now() + make_interval(secs => $3)
WHERE job_id = $1 AND archiving_by = $2
