-- Deletes up to $3 notifications that were delivered more than $1 seconds ago, and as many that were given up more than $2 seconds ago.
-- Locks: their rows. Index: notifications_delivered, notifications_given_up, notifications_pkey.
DELETE FROM notifications
WHERE notification_id IN (
    (SELECT notification_id FROM notifications WHERE delivered_at < now() - make_interval(secs => $1)
     ORDER BY delivered_at LIMIT $3)
    UNION ALL
    (SELECT notification_id FROM notifications WHERE given_up_at < now() - make_interval(secs => $2)
     ORDER BY given_up_at LIMIT $3))
