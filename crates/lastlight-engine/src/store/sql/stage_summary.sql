-- The summary of a stage of a graph, as its entry in the job's results has it. No row if it did not
-- complete. Index: stages_pkey. Locks nothing.
SELECT result -> 'summary' AS summary
FROM stages
WHERE job_id = $1 AND stage = $2 AND outcome = 'completed'
