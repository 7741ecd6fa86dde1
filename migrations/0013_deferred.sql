-- A task whose message came when its process had no room to begin it: from this time on a new message for it is due. The
-- attempt that claims the task clears it. Null for every task that was begun when its message came, so that the index below
-- holds the deferred tasks and no others, and claims and completions stay heap-only updates.
-- The handler of the version before leaves the column as it is; whoever takes deferred tasks clears it where a task needs no
-- message any more.
ALTER TABLE tasks ADD COLUMN next_send_at timestamptz;

CREATE INDEX tasks_deferred ON tasks (next_send_at) WHERE next_send_at IS NOT NULL;

-- The same by stage, for whoever asks how many of a stage's tasks are deferred.
CREATE INDEX tasks_deferred_of_stage ON tasks (parent_job_id, stage) WHERE next_send_at IS NOT NULL;
