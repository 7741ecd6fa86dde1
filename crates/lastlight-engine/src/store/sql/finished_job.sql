-- Returns a row if the job is finished, and keeps it finished until the transaction ends: nobody
-- can reopen it meanwhile. $2: the states in which a job runs. Locks: the job's row, shared. Index:
-- jobs_pkey.
SELECT status::text FROM jobs WHERE job_id = $1 AND status::text <> ALL ($2) FOR SHARE
