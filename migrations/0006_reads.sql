-- What people look at: jobs, newest first, and the tasks that failed.

-- Neither column of a job ever changes.
CREATE INDEX jobs_newest ON jobs (created_at, job_id);

-- The same for one status. A job's status changes a few times a stage, never with a task.
CREATE INDEX jobs_by_status ON jobs (status, created_at, job_id);

-- When a task failed for good, if it did. Made by the database from what every version of the app writes, so that nobody can
-- forget it; writes the table anew once, some seconds a million tasks. It stays null through every claim and every success,
-- so that the index below, which holds the failed tasks and no others, leaves them heap-only updates. (An index on the
-- status would not.)
ALTER TABLE tasks
    ADD COLUMN failed_at timestamptz
    GENERATED ALWAYS AS (CASE WHEN status = 'failed' THEN COALESCE(finished_at, updated_at) END) STORED;

CREATE INDEX tasks_failed ON tasks (parent_job_id, stage, task_id) WHERE failed_at IS NOT NULL;
