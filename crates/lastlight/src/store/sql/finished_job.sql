-- A job that is over, held so until the transaction ends: nobody reopens it meanwhile. $2: the
-- states in which a job runs. Locks: the job's row, shared. Index: jobs_pkey.
SELECT status::text FROM jobs WHERE job_id = $1 AND status::text <> ALL ($2) FOR SHARE
