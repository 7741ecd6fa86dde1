-- Records that attempt $2 at a notification failed with the reason $3. The next one follows after $4 seconds, but not later than the
-- time to give up; after that, or if $5, it is given up. Says whether it was. Locks: its row. Index: notifications_pkey.
UPDATE notifications
SET last_error = $3,
    given_up_at = CASE WHEN $5 OR give_up_at <= now() THEN now() END,
    next_attempt_at = CASE WHEN NOT $5 AND give_up_at > now()
                           THEN LEAST(now() + make_interval(secs => $4), give_up_at) END
WHERE notification_id = $1 AND attempts = $2 AND next_attempt_at IS NOT NULL
RETURNING given_up_at IS NOT NULL AS "is_given_up!"
