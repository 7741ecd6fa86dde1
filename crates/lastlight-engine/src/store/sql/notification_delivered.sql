-- Records that a notification was delivered, by whichever attempt. Locks: its row. Index: notifications_pkey.
UPDATE notifications
SET delivered_at = now(), next_attempt_at = NULL, given_up_at = NULL, last_error = NULL, body = NULL
WHERE notification_id = $1 AND delivered_at IS NULL
