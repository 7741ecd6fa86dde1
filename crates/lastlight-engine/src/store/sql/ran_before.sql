-- Whether a job was deleted in the last 14 days, or runs again, so that messages may be of a run before. Index:
-- deleted_jobs_pkey, jobs_pkey.
SELECT EXISTS (SELECT FROM deleted_jobs WHERE job_id = $1)
       OR EXISTS (SELECT FROM jobs WHERE job_id = $1 AND (run > 1 OR is_resubmitted)) AS "ran_before!"
