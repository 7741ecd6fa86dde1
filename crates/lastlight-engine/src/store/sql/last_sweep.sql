-- The sweep that ended last. Index: last_sweep_pkey; the table has one row.
SELECT swept_by AS by, finished_at, found,
       extract(epoch FROM now() - finished_at)::float8 AS "age!: Seconds",
       extract(epoch FROM finished_at - began_at)::float8 AS "took!: Seconds"
FROM last_sweep WHERE one_row
