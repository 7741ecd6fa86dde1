-- Tasks that workers claim over HTTP. No message is sent for such a task: while it waits it is ready since a certain time, and
-- an index finds it. Jobs have a third path, on which all tasks are of this kind; other jobs may have stages of this kind.
-- The handler of the version before runs its own jobs on this schema. It cannot read jobs of the third path, so the first of
-- them is submitted once all processes have the new version.
-- The index is made on the whole table of tasks: a minute for ten million rows. The check is not validated, since it allows
-- more than the one before.
ALTER TABLE jobs
    DROP CONSTRAINT jobs_processing_path_check,
    ADD CONSTRAINT jobs_processing_path_check
        CHECK (processing_path IN ('queue_storage', 'service_bus', 'worker')) NOT VALID;

-- The handlers that tasks need or workers have served, by their queue.
CREATE TABLE worker_handlers (
    handler_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue      varchar(50) COLLATE "C" NOT NULL,
    name       varchar(100) COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When a worker last asked for its tasks; null: never.
    served_at  timestamptz,
    UNIQUE (queue, name)
);

-- The handler of a stage's tasks; null: they run in the handler process, which gets messages for them.
ALTER TABLE stages ADD COLUMN handler_id integer;

ALTER TABLE tasks
    ADD COLUMN handler_id integer,
    -- From this time on a worker may claim the task. Null while an attempt holds it and after its outcome.
    ADD COLUMN ready_at timestamptz,
    -- The worker that claimed it last.
    ADD COLUMN worker_id varchar(100);

CREATE INDEX tasks_ready ON tasks (handler_id, ready_at) WHERE ready_at IS NOT NULL;

-- One row per worker that asked in the last day.
CREATE TABLE workers (
    worker_id  varchar(100) COLLATE "C" PRIMARY KEY,
    queue      varchar(50) NOT NULL,
    handlers   text[]      NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    -- The attempts that its last heartbeat named.
    running    json        NOT NULL DEFAULT '[]'
) WITH (fillfactor = 50);
