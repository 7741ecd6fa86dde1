-- Jobs of a status ($9), newest first, after the key ($1, $2), or from the newest on. $3: created in the last hours,
-- or $4: since then. $5, $6: the terms that they have; $7, $8: the bounds of what their id, their type or a label's
-- value is in (null: any); $9, $10, $11: their status, whether they are paused, their path. The first $12 of the next
-- $13. If fewer match, a last row, which is no job, says where the search stopped. The status is a part of the key,
-- so that no other index serves the order. Locks nothing. Index: jobs_by_status, job_terms_newest, job_terms_pkey.
WITH page AS MATERIALIZED (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT j.created_at, j.job_id, j.processing_path, j.paused_at, j.status,
               row_number() OVER (ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC) AS place
        FROM jobs j
        WHERE (j.status, j.created_at, j.job_id)
              < ($9::text::job_status, COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND (j.status, j.created_at)
              >= ($9::text::job_status, COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer)))
        ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC
        LIMIT $13::bigint
    ) looked
    WHERE (NOT $10::boolean OR looked.paused_at IS NOT NULL) AND ($11::text IS NULL OR looked.processing_path = $11)
      AND CASE WHEN cardinality($5::text[]) = 0 THEN true ELSE NOT EXISTS (
              SELECT FROM UNNEST($5::text[], $6::text[]) AS o (name, value)
              WHERE (SELECT true FROM job_terms p
                     WHERE p.name = o.name AND p.value = o.value AND p.created_at = looked.created_at
                       AND p.job_id = looked.job_id) IS NULL) END
      AND CASE WHEN $7::text IS NULL OR looked.job_id >= $7 AND looked.job_id < $8::text THEN true ELSE (
              SELECT true FROM job_terms w
              WHERE w.job_id = looked.job_id AND left(w.name, 6) <> 'param.' AND w.value >= $7 AND w.value < $8
              LIMIT 1) IS NOT NULL END
    ORDER BY looked.status DESC, looked.created_at DESC, looked.job_id DESC
    LIMIT $12::bigint
), stop AS (
    SELECT looked.created_at, looked.job_id, looked.place
    FROM (
        SELECT j.created_at, j.job_id,
               row_number() OVER (ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC) AS place
        FROM jobs j
        WHERE (j.status, j.created_at, j.job_id)
              < ($9::text::job_status, COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
          AND (j.status, j.created_at)
              >= ($9::text::job_status, COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer)))
          AND (SELECT count(*) FROM page) < $12
        ORDER BY j.status DESC, j.created_at DESC, j.job_id DESC
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
