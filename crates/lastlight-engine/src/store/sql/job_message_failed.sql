-- Records for users why a job message is still unsent. Index: outbox_pkey.
UPDATE outbox SET last_error = $3 WHERE job_id = $1 AND stage = $2
