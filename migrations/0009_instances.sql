-- Who is alive, and when somebody last swept. For people to look at: no decision of the workflow reads these tables.

-- One row a handler process. It writes its row every two seconds while tasks run in it, every thirty while none does, and
-- never deletes it: processes are killed. reconcile removes rows that nobody wrote for long.
CREATE TABLE instances (
    instance_id    uuid         PRIMARY KEY,
    version        varchar(40)  NOT NULL,
    started_at     timestamptz  NOT NULL DEFAULT now(),
    seen_at        timestamptz  NOT NULL DEFAULT now(),
    -- The tasks that ran when it was written: so many of this stage of this job. Three columns of one list.
    running_jobs   text[]       NOT NULL DEFAULT '{}',
    running_stages smallint[]   NOT NULL DEFAULT '{}',
    running_tasks  integer[]    NOT NULL DEFAULT '{}',
    -- Connections of its pool: open, of these in use, and at most.
    pool_open      integer      NOT NULL,
    pool_in_use    integer      NOT NULL,
    pool_limit     integer      NOT NULL
) WITH (fillfactor = 50);

-- One row, written at the end of each sweep.
CREATE TABLE last_sweep (
    one_row     boolean      PRIMARY KEY DEFAULT true CHECK (one_row),
    swept_by    uuid         NOT NULL,
    began_at    timestamptz  NOT NULL,
    finished_at timestamptz  NOT NULL,
    -- What it found, by name; all zero on a quiet system.
    found       jsonb        NOT NULL
) WITH (fillfactor = 50);
