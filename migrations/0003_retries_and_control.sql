-- Retries with a pause, what a person may do to a job, time limits, and what the audit counts.

ALTER TABLE tasks
    -- A retry is not due before this.
    ADD COLUMN due_at timestamptz,
    -- Attempts before a person had the task repeated: the most that are allowed count from here. Null: none.
    ADD COLUMN attempts_forgiven smallint;

ALTER TABLE jobs
    -- A job that is not over by then fails.
    ADD COLUMN deadline timestamptz,
    -- Whether the job is to stop at the end of its stage, and since when it has. A paused job is 'queued' without a
    -- job message that is owed.
    ADD COLUMN pause_requested boolean NOT NULL DEFAULT false,
    ADD COLUMN paused_at timestamptz;

CREATE INDEX jobs_deadline ON jobs (deadline) WHERE finished_at IS NULL;

ALTER TABLE stages
    -- Deliveries that found nothing to do, and outcomes that came too late to count.
    ADD COLUMN duplicates bigint NOT NULL DEFAULT 0,
    ADD COLUMN stale bigint NOT NULL DEFAULT 0,
    -- When the counters were last compared with a recount.
    ADD COLUMN recounted_at timestamptz;

-- Messages that a queue accepted for the batch, over all its sends.
ALTER TABLE task_batches ADD COLUMN messages integer NOT NULL DEFAULT 0;
