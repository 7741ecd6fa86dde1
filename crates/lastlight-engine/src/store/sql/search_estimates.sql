-- How many jobs a search would read after the key ($1, $2), created in the last $3 hours or since $4, counted up to $5: of each
-- of the terms ($6, $7), of the status $8, and, of all times, within the bounds ($9, $10) of id, type or a label's value. Null:
-- not searched for. Locks nothing. Index: job_terms_newest, jobs_by_status, jobs_pkey, job_terms_words.
SELECT ARRAY(
           SELECT (SELECT count(*)
                   FROM (SELECT FROM job_terms t
                         WHERE t.name = o.name AND t.value = o.value
                           AND (t.created_at, t.job_id) < (COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
                           AND t.created_at >= COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer))
                         LIMIT $5::bigint) counted)
           FROM UNNEST($6::text[], $7::text[]) WITH ORDINALITY AS o (name, value, place)
           ORDER BY o.place) AS "terms!",
       CASE WHEN $8::text IS NOT NULL THEN (
           SELECT count(*)
           FROM (SELECT FROM jobs j
                 WHERE (j.status, j.created_at, j.job_id)
                       < ($8::text::job_status, COALESCE($1::timestamptz, 'infinity'), COALESCE($2::text, ''))
                   AND (j.status, j.created_at)
                       >= ($8::text::job_status, COALESCE($4::timestamptz, now() - make_interval(hours => $3::integer)))
                 LIMIT $5) counted) END AS status,
       CASE WHEN $9::text IS NOT NULL THEN (
           SELECT count(*)
           FROM (SELECT FROM jobs j WHERE j.job_id >= $9 AND j.job_id < $10::text LIMIT $5) counted) + (
           SELECT count(*)
           FROM (SELECT FROM job_terms w WHERE w.name < 'param.' AND w.value >= $9 AND w.value < $10 LIMIT $5) counted)
       END AS prefix
