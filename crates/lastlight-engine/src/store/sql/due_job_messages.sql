-- Takes unsent job messages that are due, and postpones each, so that concurrent callers never take
-- the same one. Large parameters are not read: the handler reads them from the database anyway, and
-- hundreds of them would fill the memory. Index: outbox_due.
UPDATE outbox o
SET sends = o.sends + 1, next_send_at = now() + make_interval(secs => $1)
FROM jobs j
WHERE j.job_id = o.job_id
  AND (o.job_id, o.stage) IN (
      SELECT job_id, stage FROM outbox WHERE next_send_at <= now()
      ORDER BY next_send_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING o.job_id, o.stage, o.sends, j.job_type,
          CASE WHEN octet_length(j.parameters::text) <= 32768 THEN j.parameters ELSE '{}' END AS "parameters!",
          j.processing_path AS path, COALESCE(j.traceparent, '') AS "trace!: StoredTrace"
