-- Whether a job was deleted in the last 14 days, and does not exist. Index: deleted_jobs_pkey.
SELECT EXISTS (SELECT FROM deleted_jobs WHERE job_id = $1) AS "was_deleted!"
