-- Takes up to $1 events that are to be told, with their jobs; the caller writes their notifications and deletes them in the same
-- transaction. An event is unknown if it or its job was deleted by hand. Locks: the events; those that another process holds are
-- skipped. Index: notification_events_pkey, job_events_pkey, jobs_pkey, stages_pkey.
SELECT n.job_id AS "job_id!", n.event_id AS "event_id!", e.event_id IS NOT NULL AND j.job_id IS NOT NULL AS "is_known!",
       COALESCE(e.kind, '') AS "kind!", COALESCE(e.run, 0) AS "run!", e.stage AS "stage?: Stage", s.name AS "node?",
       COALESCE(e.happened_at, now()) AS "happened_at!", e.detail AS "detail?: JsonText", COALESCE(j.job_type, '') AS "job_type!",
       COALESCE(j.notify, '{}') AS "addresses!", COALESCE(j.labels, '{}') AS "labels!: StoredLabels"
FROM (SELECT job_id, event_id FROM notification_events ORDER BY job_id, event_id LIMIT $1 FOR UPDATE SKIP LOCKED) n
LEFT JOIN job_events e ON e.job_id = n.job_id AND e.event_id = n.event_id
LEFT JOIN jobs j ON j.job_id = n.job_id
LEFT JOIN stages s ON s.job_id = e.job_id AND s.stage = e.stage
