-- Returns a row if the job ended before its stages, or failed, and locks it. $2: the states in which it has. Locks: the job's row.
-- Index: jobs_pkey.
SELECT job_id FROM jobs WHERE job_id = $1 AND status::text = ANY ($2) FOR UPDATE
