-- Deletes events whose notifications are written. Locks: the events. Index: notification_events_pkey.
DELETE FROM notification_events e
USING UNNEST($1::text[], $2::bigint[]) AS t (job_id, event_id)
WHERE e.job_id = t.job_id AND e.event_id = t.event_id
