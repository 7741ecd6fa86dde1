-- Jobs that have a term ($14, $15), newest first, after the key ($1, $2), or from the newest on. $3: created in the last
-- hours, or $4: since then. $5, $6: the terms that they have; $7, $8: the bounds of what their id, their type or a
-- label's value is in (null: any); $9, $10, $11: their status, whether they are paused, their path. The first $12 of the
-- next $13. If fewer match, a last row, which is no job, says where the search stopped. Locks nothing. Index:
-- job_terms_newest, job_terms_pkey, jobs_pkey.
WITH page AS MATERIALIZED (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT t.created_at, t.job_id,
               row_number() OVER (ORDER BY t.created_at DESC, t.job_id DESC) AS place
        FROM job_terms t
        WHERE (t.created_at, t.job_id) < (COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND t.created_at >= COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer))
          AND t.name = $14 AND t.value = $15
        ORDER BY t.created_at DESC, t.job_id DESC
        LIMIT $13::bigint
    ) looked
    WHERE CASE WHEN cardinality($5::text[]) = 0 THEN true ELSE NOT EXISTS (
              SELECT FROM UNNEST($5::text[], $6::text[]) AS o (name, value)
              WHERE (SELECT true FROM job_terms p
                     WHERE p.name = o.name AND p.value = o.value AND p.created_at = looked.created_at
                       AND p.job_id = looked.job_id) IS NULL) END
      AND CASE WHEN $7::text IS NULL OR looked.job_id >= $7 AND looked.job_id < $8::text THEN true ELSE (
              SELECT true FROM job_terms w
              WHERE w.job_id = looked.job_id AND left(w.name, 6) <> 'param.' AND w.value >= $7 AND w.value < $8
              LIMIT 1) IS NOT NULL END
      AND CASE WHEN $9::text IS NULL AND $11::text IS NULL THEN true ELSE (
              SELECT true FROM jobs j
              WHERE j.job_id = looked.job_id AND ($9 IS NULL OR j.status::text = $9)
                AND (NOT $10::boolean OR j.paused_at IS NOT NULL)
                AND ($11 IS NULL OR j.processing_path = $11)) IS NOT NULL END
    ORDER BY looked.created_at DESC, looked.job_id DESC
    LIMIT $12::bigint
), stop AS (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT t.created_at, t.job_id,
               row_number() OVER (ORDER BY t.created_at DESC, t.job_id DESC) AS place
        FROM job_terms t
        WHERE (t.created_at, t.job_id) < (COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND t.created_at >= COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer))
          AND t.name = $14 AND t.value = $15
          AND (SELECT count(*) FROM page) < $12
        ORDER BY t.created_at DESC, t.job_id DESC
        LIMIT $13::bigint
    ) looked
    ORDER BY looked.place DESC
    LIMIT 1
)
SELECT place AS "place!", created_at AS "created_at!", job_id AS "job_id!: JobId", true AS "is_job!"
FROM page
UNION ALL
SELECT place, created_at, job_id, false
FROM stop
ORDER BY 4 DESC, 1
