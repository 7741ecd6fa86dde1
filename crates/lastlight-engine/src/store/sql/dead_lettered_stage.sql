-- The state of the stage that a dead-lettered job message was to start. Index: stages_pkey.
SELECT planned_at IS NOT NULL OR advanced_at IS NOT NULL AS "planned!", lease_until > now() AS leased, poisoned, poisoned_at
FROM stages
WHERE job_id = $1 AND stage = $2
