-- A job message is no longer owed. Index: outbox_pkey.
DELETE FROM outbox WHERE job_id = $1 AND stage = $2
