-- The database's time, the moment at which the next schedule fires, and whether due times wait for a job. Read by each process
-- every few seconds. Index: schedules_due, schedule_runs_waiting.
SELECT now() AS "now!",
       (SELECT s.next_fire_at FROM schedules s
        WHERE s.paused_at IS NULL AND s.next_fire_at IS NOT NULL
        ORDER BY s.next_fire_at LIMIT 1) AS next_fire_at,
       EXISTS (SELECT FROM schedule_runs r WHERE r.decision = 'waiting') AS "has_waiting!"
