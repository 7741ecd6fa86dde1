-- Makes notifications due that were given up, at once and for $2 seconds: the one with the id $1, or all if that is null. Locks: their
-- rows. Index: notifications_given_up, notifications_pkey.
UPDATE notifications
SET given_up_at = NULL, next_attempt_at = now(), give_up_at = now() + make_interval(secs => $2), attempts = 0
WHERE given_up_at IS NOT NULL AND ($1::uuid IS NULL OR notification_id = $1)
