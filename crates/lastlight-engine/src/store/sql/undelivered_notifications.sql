-- Up to $3 notifications that wait to be delivered ($1) and that were given up ($2), the newest of each first. Locks nothing. Index:
-- notifications_due, notifications_given_up.
(SELECT notification_id AS "notification_id!", job_id AS "job_id!: JobId", kind AS "kind!", address AS "address!",
        created_at AS "created_at!", attempts AS "attempts!", next_attempt_at, give_up_at AS "give_up_at!", delivered_at, given_up_at,
        last_error
 FROM notifications
 WHERE given_up_at IS NOT NULL AND $2
 ORDER BY given_up_at DESC LIMIT $3)
UNION ALL
(SELECT notification_id, job_id, kind, address, created_at, attempts, next_attempt_at, give_up_at, delivered_at, given_up_at, last_error
 FROM notifications
 WHERE next_attempt_at IS NOT NULL AND $1
 ORDER BY next_attempt_at DESC LIMIT $3)
LIMIT $3
