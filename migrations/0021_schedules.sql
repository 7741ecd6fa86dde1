-- Jobs that are submitted at due times: a cron expression in a time zone, with the parameters of a submission. The next due time is
-- stored, so that an index finds what is due; the run of a due time is a row whose key lets it be submitted once.
-- The handler of the version before runs on this schema, and fires nothing.
CREATE TABLE schedules (
    name             varchar(120) COLLATE "C" PRIMARY KEY,
    job_type         varchar(50) NOT NULL,
    -- As they were sent: with placeholders of the due time.
    parameters       json        NOT NULL,
    cron             text        NOT NULL,
    time_zone        text        NOT NULL,
    jitter_seconds   integer     NOT NULL CHECK (jitter_seconds >= 0),
    overlap          text        NOT NULL CHECK (overlap IN ('skip', 'queue', 'allow')),
    catch_up         text        NOT NULL CHECK (catch_up IN ('none', 'last', 'all')),
    catch_up_limit   integer     NOT NULL CHECK (catch_up_limit BETWEEN 1 AND 1000),
    -- The workflow whose file declares it; null: it was made over HTTP.
    declared_by      varchar(50) COLLATE "C",
    paused_at        timestamptz,
    -- The due time that comes next, and the moment at which it is submitted: the due time and its jitter. Null: there is none any more.
    next_due_at      timestamptz,
    next_fire_at     timestamptz,
    -- Changes with every change of the row, so that who decided by an older state does not write.
    version          bigint      NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE INDEX schedules_due ON schedules (next_fire_at) WHERE paused_at IS NULL;

-- What became of each due time; the newest ones of each schedule are kept.
CREATE TABLE schedule_runs (
    name       varchar(120) COLLATE "C" NOT NULL REFERENCES schedules ON DELETE CASCADE,
    -- Of due times that were missed: the last one.
    due_at     timestamptz NOT NULL,
    -- Whether a user ordered the run; its due time is the moment of the order.
    is_manual  boolean     NOT NULL,
    decision   text        NOT NULL CHECK (decision IN ('submitted', 'exists', 'skipped', 'waiting', 'missed', 'failed')),
    -- The due times that the row stands for: more than one only if they were missed.
    due_times  bigint      NOT NULL DEFAULT 1,
    job_id     text COLLATE "C",
    reason     text,
    decided_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, due_at, is_manual)
);

CREATE INDEX schedule_runs_waiting ON schedule_runs (name, due_at) WHERE decision = 'waiting';
