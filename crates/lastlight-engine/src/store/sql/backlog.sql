-- Unsent messages of running jobs: the number of unsent batches and of unsent job messages, counted
-- up to $1 each, and the age in seconds of the oldest of these. Index: task_batches_owed,
-- outbox_due, jobs_pkey. Jobs are read by a subquery: with a join, a plan made on empty tables
-- would read all running jobs for each batch. Locks nothing.
SELECT b.batches AS "batches!", o.job_messages AS "job_messages!",
       extract(epoch FROM now() - LEAST(b.since, o.since))::float8 AS "oldest?: Seconds"
FROM (SELECT count(*) AS batches, min(since) AS since
      FROM (SELECT COALESCE(t.sent_at, t.created_at) AS since
            FROM task_batches t
            WHERE t.status = 'pending_queue'
              AND (SELECT j.status = 'processing' FROM jobs j WHERE j.job_id = t.job_id)
            ORDER BY t.next_send_at LIMIT $1) AS unsent) AS b,
     (SELECT count(*) AS job_messages, min(created_at) AS since
      FROM (SELECT created_at FROM outbox ORDER BY next_send_at LIMIT $1) AS unsent) AS o
