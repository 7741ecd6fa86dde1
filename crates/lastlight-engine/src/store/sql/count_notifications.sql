-- The number of notifications that wait to be delivered, and of those that were given up; counted up to $1 each. Locks nothing. Index:
-- notifications_due, notifications_given_up.
SELECT (SELECT count(*) FROM (SELECT FROM notifications WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT $1) p)
           AS "pending!",
       (SELECT count(*) FROM (SELECT FROM notifications WHERE given_up_at IS NOT NULL ORDER BY given_up_at LIMIT $1) g)
           AS "given_up!"
