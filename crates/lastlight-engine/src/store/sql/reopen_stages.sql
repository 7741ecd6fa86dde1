-- Reopens stages of a graph for a retry of its job: $2 to $5 say for each how many stages it waits for,
-- whether it cannot run, and whether its plan, or its gate's decision, is kept. Locks: the stages' rows.
-- Index: stages_pkey.
UPDATE stages s
SET advanced_at = NULL, outcome = NULL, result = NULL, not_chosen = NULL, lease_owner = NULL, lease_until = NULL,
    poisoned = NULL, waits_for = r.waits_for, unmet = r.unmet,
    created_at = CASE WHEN s.kind IN ('gate', 'job') THEN now() ELSE s.created_at END,
    planned_at = CASE WHEN r.keeps_plan THEN s.planned_at END,
    decision = CASE WHEN r.keeps_plan THEN s.decision END,
    output = CASE WHEN r.keeps_plan THEN s.output END,
    child_job_id = CASE WHEN r.keeps_plan THEN s.child_job_id END,
    updated_at = now()
FROM UNNEST($2::smallint[], $3::smallint[], $4::boolean[], $5::boolean[]) AS r (stage, waits_for, unmet, keeps_plan)
WHERE s.job_id = $1 AND s.stage = r.stage
