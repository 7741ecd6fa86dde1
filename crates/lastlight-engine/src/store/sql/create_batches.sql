-- Writes the outbox entries of a chunk, one per batch: unsent until their messages are sent. A
-- batch that a shorter plan left half full before a crash is filled up and becomes unsent again.
-- $3: seconds before anyone but the planner may send them; $6: tasks per message.
-- $7: the handler, if the tasks are for workers: then they need no messages, the batches are ready, and have no
-- time at which they were sent, so that no message of theirs is presumed lost. Index:
-- task_batches_pkey, for the conflict.
INSERT INTO task_batches AS b (status, job_id, stage, batch_no, task_ids, next_send_at, tasks_per_message,
                               handler_id, ready_at, untaken)
SELECT CASE WHEN $7::integer IS NOT NULL THEN 'queued' ELSE 'pending_queue' END::batch_status, $1, $2, new.batch_no, array_agg(new.task_id ORDER BY new.place), now() + make_interval(secs => $3), $6,
       $7, CASE WHEN $7::integer IS NOT NULL THEN now() END, CASE WHEN $7::integer IS NOT NULL THEN count(*) ELSE 0 END
FROM UNNEST($4::integer[], $5::text[]) WITH ORDINALITY AS new (batch_no, task_id, place)
GROUP BY new.batch_no
ON CONFLICT (job_id, stage, batch_no) DO UPDATE
SET task_ids = b.task_ids || EXCLUDED.task_ids, status = EXCLUDED.status, next_send_at = EXCLUDED.next_send_at,
    ready_at = COALESCE(b.ready_at, EXCLUDED.ready_at),
    untaken = CASE WHEN b.ready_at IS NULL THEN 0 ELSE b.untaken END + EXCLUDED.untaken
