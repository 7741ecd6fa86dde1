-- Job messages that are owed and due; taking them puts them off, so that many may look at once.
-- Large parameters are left where they are: the handler reads them anyway, and hundreds of them
-- would fill the memory. Index: outbox_due.
UPDATE outbox o
SET sends = o.sends + 1, next_send_at = now() + make_interval(secs => $1)
FROM jobs j
WHERE j.job_id = o.job_id
  AND (o.job_id, o.stage) IN (
      SELECT job_id, stage FROM outbox WHERE next_send_at <= now()
      ORDER BY next_send_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING o.job_id, o.stage, o.sends, j.job_type,
          CASE WHEN octet_length(j.parameters::text) <= 32768 THEN j.parameters ELSE '{}' END AS parameters, j.processing_path, j.traceparent
