-- Why a batch is still owed, for people. Index: task_batches_pkey.
UPDATE task_batches SET last_error = $4 WHERE job_id = $1 AND stage = $2 AND batch_no = $3
