-- Forgets jobs that were deleted more than 14 days ago: no queue has messages for them any more. Index: deleted_jobs_age.
DELETE FROM deleted_jobs WHERE deleted_at < now() - interval '14 days'
