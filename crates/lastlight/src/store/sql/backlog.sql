-- Messages that are owed by jobs that run: batches and job messages, at most $1 of each, and for
-- how many seconds the oldest of these is. Indexes: task_batches_owed, outbox_due, and the key of
-- jobs. Jobs are looked at by themselves: joined, a plan made on empty tables reads all that run
-- for each batch. Locks nothing.
SELECT b.batches, o.job_messages,
       extract(epoch FROM now() - LEAST(b.since, o.since))::float8 AS oldest_seconds
FROM (SELECT count(*) AS batches, min(since) AS since
      FROM (SELECT COALESCE(t.sent_at, t.created_at) AS since
            FROM task_batches t
            WHERE t.status = 'pending_queue'
              AND (SELECT j.status = 'processing' FROM jobs j WHERE j.job_id = t.job_id)
            ORDER BY t.next_send_at LIMIT $1) AS owed) AS b,
     (SELECT count(*) AS job_messages, min(created_at) AS since
      FROM (SELECT created_at FROM outbox ORDER BY next_send_at LIMIT $1) AS owed) AS o
