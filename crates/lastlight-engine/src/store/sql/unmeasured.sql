-- Number of ended stages and of finished jobs that were not measured since their end and are
-- missing in the rollups, counted up to $1 each. Index: stages_unmeasured, jobs_unmeasured.
SELECT (SELECT count(*)
        FROM (SELECT FROM stages s
              WHERE s.advanced_at IS NOT NULL AND (s.measured_at IS NULL OR s.measured_at < s.advanced_at)
                AND s.completed + s.failed + s.skipped = s.total
              LIMIT $1) s) AS "stages!",
       (SELECT count(*)
        FROM (SELECT FROM jobs j
              WHERE j.finished_at IS NOT NULL AND (j.measured_at IS NULL OR j.measured_at < j.finished_at)
              LIMIT $1) j) AS "jobs!"
