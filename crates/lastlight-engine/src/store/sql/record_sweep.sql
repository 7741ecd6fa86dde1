-- Records a sweep that has just ended; the table keeps the sweep that ended last. Index:
-- last_sweep_pkey. Locks: the one row.
INSERT INTO last_sweep (swept_by, began_at, finished_at, found)
VALUES ($1, now() - make_interval(secs => $2), now(), $3)
ON CONFLICT (one_row) DO UPDATE SET
    swept_by = EXCLUDED.swept_by, began_at = EXCLUDED.began_at, finished_at = EXCLUDED.finished_at,
    found = EXCLUDED.found
