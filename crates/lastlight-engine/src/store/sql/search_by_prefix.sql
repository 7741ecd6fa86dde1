-- Jobs whose id, type or value of a label is within the bounds ($7, $8), newest first, after the key ($1, $2), or from the newest
-- on. $3: created in the last hours, or $4: since then. $5, $6: the terms that they have; $9, $10, $11: their status, whether they
-- are paused, their path. The first $12. Reads all jobs within the bounds: call it only if these are few. Locks nothing. Index:
-- jobs_pkey, job_terms_words, job_terms_newest.
WITH found AS MATERIALIZED (
    -- Without the times, which another index would serve.
    SELECT j.created_at, j.job_id FROM jobs j WHERE j.job_id >= $7::text AND j.job_id < $8::text
    UNION
    SELECT w.created_at, w.job_id FROM job_terms w WHERE w.name < 'param.' AND w.value >= $7 AND w.value < $8
), looked AS (
    SELECT found.created_at, found.job_id
    FROM found
    WHERE (found.created_at, found.job_id) < (COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
      AND found.created_at >= COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer))
)
SELECT row_number() OVER (ORDER BY looked.created_at DESC, looked.job_id DESC) AS "place!", looked.created_at AS "created_at!",
       looked.job_id AS "job_id!: JobId", true AS "is_job!"
FROM looked
WHERE CASE WHEN cardinality($5::text[]) = 0 THEN true ELSE NOT EXISTS (
          SELECT FROM UNNEST($5::text[], $6::text[]) AS o (name, value)
          WHERE (SELECT true FROM job_terms p
                 WHERE p.name = o.name AND p.value = o.value AND p.created_at = looked.created_at
                   AND p.job_id = looked.job_id) IS NULL) END
  AND CASE WHEN $9::text IS NULL AND $11::text IS NULL THEN true ELSE (
          SELECT true FROM jobs j
          WHERE j.job_id = looked.job_id AND ($9 IS NULL OR j.status::text = $9)
            AND (NOT $10::boolean OR j.paused_at IS NOT NULL)
            AND ($11 IS NULL OR j.processing_path = $11)) IS NOT NULL END
ORDER BY looked.created_at DESC, looked.job_id DESC
LIMIT $12::bigint
