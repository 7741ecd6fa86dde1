-- Writes the report of a process about itself, and the queue position that it has reached on each
-- path: of the tasks that began in it since its last report, the earliest time at which their
-- batches were sent. The earliest, because a batch that was sent again has a later time than its
-- position in the queue. $13: whether it has an archive. Each task and batch is found by its whole key. Index: instances_pkey,
-- jobs_pkey, tasks_pkey, task_batches_pkey. Locks: its own row; a heap-only update after the first.
WITH begun AS MATERIALIZED (
    SELECT named.job_id, named.stage,
           (SELECT j.processing_path FROM jobs j WHERE j.job_id = named.job_id) AS path,
           (SELECT split_part(t.batch_id, '-b', 2)::integer FROM tasks t
            WHERE t.parent_job_id = named.job_id AND t.stage = named.stage AND t.task_id = named.task_id) AS batch_no
    FROM UNNEST($10::text[], $11::smallint[], $12::text[]) AS named (job_id, stage, task_id)
), sent AS MATERIALIZED (
    SELECT begun.path, (SELECT b.sent_at FROM task_batches b
                        WHERE b.job_id = begun.job_id AND b.stage = begun.stage AND b.batch_no = begun.batch_no) AS at
    FROM begun
), watermark AS (
    SELECT min(at) FILTER (WHERE path = 'queue_storage') AS queue_storage,
           min(at) FILTER (WHERE path = 'service_bus') AS service_bus
    FROM sent
)
INSERT INTO instances (instance_id, version, started_at, running_jobs, running_stages, running_tasks,
                       pool_open, pool_in_use, pool_limit, archives,
                       queue_storage_reached, queue_storage_reached_at, service_bus_reached, service_bus_reached_at)
SELECT $1, $2, now() - make_interval(secs => $3), $4, $5, $6, $7, $8, $9, $13,
       watermark.queue_storage, CASE WHEN watermark.queue_storage IS NOT NULL THEN now() END,
       watermark.service_bus, CASE WHEN watermark.service_bus IS NOT NULL THEN now() END
FROM watermark
ON CONFLICT (instance_id) DO UPDATE SET
    seen_at = now(), running_jobs = EXCLUDED.running_jobs, running_stages = EXCLUDED.running_stages,
    running_tasks = EXCLUDED.running_tasks, pool_open = EXCLUDED.pool_open, pool_in_use = EXCLUDED.pool_in_use,
    pool_limit = EXCLUDED.pool_limit,
    queue_storage_reached = COALESCE(EXCLUDED.queue_storage_reached, instances.queue_storage_reached),
    queue_storage_reached_at = COALESCE(EXCLUDED.queue_storage_reached_at, instances.queue_storage_reached_at),
    service_bus_reached = COALESCE(EXCLUDED.service_bus_reached, instances.service_bus_reached),
    service_bus_reached_at = COALESCE(EXCLUDED.service_bus_reached_at, instances.service_bus_reached_at)
