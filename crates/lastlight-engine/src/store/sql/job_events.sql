-- The events of a job after the event $2, in order, at most $3. Index: job_events_pkey, stages_pkey.
SELECT e.event_id, e.run, e.stage, e.kind, e.happened_at, e.requested_by, e.reason, e.detail, e.times, e.last_at, e.amount,
       (SELECT s.name FROM stages s WHERE s.job_id = e.job_id AND s.stage = e.stage) AS node
FROM job_events e
WHERE e.job_id = $1 AND e.event_id > $2
ORDER BY e.event_id
LIMIT $3
