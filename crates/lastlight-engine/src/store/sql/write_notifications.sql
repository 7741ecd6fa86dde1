-- Writes the notifications of events, one for each event and address; $6: seconds until they are given up. Those that exist stay as
-- they are. Locks: the new rows only. Index: notifications_pkey, for the conflict.
INSERT INTO notifications (notification_id, job_id, kind, address, body, give_up_at)
SELECT n.notification_id, n.job_id, n.kind, n.address, n.body, now() + make_interval(secs => $6)
FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) AS n (notification_id, job_id, kind, address, body)
ON CONFLICT (notification_id) DO NOTHING
