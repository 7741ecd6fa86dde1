-- Up to $5 notifications of the job $1, the newest first: those that wait to be delivered ($2), those that were given up ($3), and
-- those that were delivered ($4). Locks nothing. Index: notifications_of_job.
SELECT notification_id, job_id, kind, address, created_at, attempts, next_attempt_at, give_up_at, delivered_at, given_up_at, last_error
FROM notifications
WHERE job_id = $1
  AND (next_attempt_at IS NOT NULL AND $2 OR given_up_at IS NOT NULL AND $3 OR delivered_at IS NOT NULL AND $4)
ORDER BY created_at DESC
LIMIT $5
