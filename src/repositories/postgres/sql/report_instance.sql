-- What a process says of itself. Index: the key. Locks its own row; a heap-only update after the first.
INSERT INTO instances (instance_id, version, started_at, running_jobs, running_stages, running_tasks,
                       pool_open, pool_in_use, pool_limit)
VALUES ($1, $2, now() - make_interval(secs => $3), $4, $5, $6, $7, $8, $9)
ON CONFLICT (instance_id) DO UPDATE SET
    seen_at = now(), running_jobs = EXCLUDED.running_jobs, running_stages = EXCLUDED.running_stages,
    running_tasks = EXCLUDED.running_tasks, pool_open = EXCLUDED.pool_open, pool_in_use = EXCLUDED.pool_in_use,
    pool_limit = EXCLUDED.pool_limit
