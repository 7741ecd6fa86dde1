-- Up to $2 schedules that fire by $1, the longest due first, and then those of which due times wait. Index: schedules_due,
-- schedule_runs_waiting, schedules_pkey.
SELECT due.name AS "name!"
FROM ((SELECT s.name, s.next_fire_at
       FROM schedules s
       WHERE s.paused_at IS NULL AND s.next_fire_at <= $1
       ORDER BY s.next_fire_at LIMIT $2)
      UNION ALL
      (SELECT w.name, NULL
       FROM (SELECT DISTINCT r.name FROM schedule_runs r WHERE r.decision = 'waiting') w
       JOIN schedules s ON s.name = w.name AND s.paused_at IS NULL
       LIMIT $2)) due
GROUP BY due.name
ORDER BY min(due.next_fire_at)
LIMIT $2
