-- Jobs that are over are deleted after a time, with their tasks. A job is marked first; then its tasks, its batches and it
-- itself are deleted in steps, which any process continues. A marked job cannot be retried.
-- The handler of the version before runs on this schema; it may retry a job that is being deleted, which then loses tasks. Until all
-- processes have the new version, retry only jobs whose retention is not over.
ALTER TABLE jobs
    -- When the job was marked for deletion.
    ADD COLUMN purging_at timestamptz;

-- The jobs that may be marked, by the rule that applies to them, the oldest first.
CREATE INDEX jobs_over ON jobs (job_type, (status = 'failed'), finished_at)
    WHERE finished_at IS NOT NULL AND purging_at IS NULL;

CREATE INDEX jobs_purging ON jobs (purging_at) WHERE purging_at IS NOT NULL;

-- Jobs that were deleted while messages for them could still be in a queue, so that these are ignored.
CREATE TABLE deleted_jobs (
    job_id     text COLLATE "C" PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX deleted_jobs_age ON deleted_jobs (deleted_at);
