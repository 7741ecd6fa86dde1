-- Takes up to $2 notifications that are due, for an attempt each; for $1 seconds no other process takes them. Locks: their rows; those
-- that another process holds are skipped. Index: notifications_due, notifications_pkey.
UPDATE notifications n
SET attempts = n.attempts + 1, next_attempt_at = now() + make_interval(secs => $1)
WHERE n.notification_id IN (
    SELECT notification_id FROM notifications WHERE next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING n.notification_id, n.job_id, n.address, COALESCE(n.body, '') AS "body!", n.attempts
