-- Everything still to do stands in these tables; a queue message is only a hint.
-- Unqualified names: the connection's search_path is APP_SCHEMA.

CREATE TYPE job_status AS ENUM ('queued', 'processing', 'completed', 'failed', 'cancelled');
CREATE TYPE task_status AS ENUM
    ('pending_queue', 'queued', 'processing', 'retrying', 'completed', 'failed', 'skipped');
CREATE TYPE batch_status AS ENUM ('pending_queue', 'queued');

-- One row a submission. job_id is the hash of what was asked for, so that asking twice finds the same row.
CREATE TABLE jobs (
    job_id          text COLLATE "C" PRIMARY KEY CHECK (job_id ~ '^[0-9a-f]{64}$'),
    job_type        varchar(50)  NOT NULL,
    status          job_status   NOT NULL DEFAULT 'queued',
    stage           smallint     NOT NULL DEFAULT 1 CHECK (stage BETWEEN 1 AND 100),
    total_stages    smallint     NOT NULL CHECK (total_stages BETWEEN 1 AND 100),
    -- json, not jsonb: the text stays as it was hashed, and \u0000 inside a string is allowed.
    parameters      json         NOT NULL,
    stage_results   json         NOT NULL DEFAULT '{}',
    result_data     json,
    error_details   text,
    processing_path varchar(20)  NOT NULL DEFAULT 'queue_storage'
                    CHECK (processing_path IN ('queue_storage', 'service_bus')),
    created_at      timestamptz  NOT NULL DEFAULT now(),
    updated_at      timestamptz  NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
);

-- One row a stage. The counters are what says whether the lights are out: a stage has ended when it is
-- planned and completed + failed + skipped = total. They are written once a group of completions.
CREATE TABLE stages (
    job_id       text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    stage        smallint     NOT NULL,
    total        bigint       NOT NULL DEFAULT 0,
    completed    bigint       NOT NULL DEFAULT 0,
    failed       bigint       NOT NULL DEFAULT 0,
    skipped      bigint       NOT NULL DEFAULT 0,
    -- How many definitions of the plan were taken so far; planning goes on here after a crash.
    plan_cursor  bigint       NOT NULL DEFAULT 0,
    batches      integer      NOT NULL DEFAULT 0,
    lease_owner  uuid,
    lease_until  timestamptz,
    created_at   timestamptz  NOT NULL DEFAULT now(),
    updated_at   timestamptz  NOT NULL DEFAULT now(),
    planned_at   timestamptz,
    advanced_at  timestamptz,
    PRIMARY KEY (job_id, stage),
    CHECK (completed + failed + skipped <= total)
) WITH (fillfactor = 50);

-- What reconcile looks at: stages that are not over. Small at any size of the tables.
CREATE INDEX stages_open ON stages (updated_at) WHERE advanced_at IS NULL;

-- One row a task. The key begins with the job: task ids carry only 8 of its 64 digits.
-- No foreign key: it would cost a look-up for every one of a million inserts, and rows are only written
-- by a planner that holds the stage's lease. No index but the key, so that claims and completions are
-- heap-only updates; fillfactor leaves them room.
CREATE TABLE tasks (
    parent_job_id  text COLLATE "C" NOT NULL,
    stage          smallint     NOT NULL,
    task_id        text COLLATE "C" NOT NULL CHECK (length(task_id) BETWEEN 1 AND 100),
    -- The place in the plan, from 0.
    ordinal        integer      NOT NULL,
    attempt        smallint     NOT NULL DEFAULT 0,
    retry_count    smallint     NOT NULL DEFAULT 0,
    status         task_status  NOT NULL,
    heartbeat      timestamptz,
    lease_until    timestamptz,
    created_at     timestamptz  NOT NULL DEFAULT now(),
    updated_at     timestamptz  NOT NULL DEFAULT now(),
    started_at     timestamptz,
    finished_at    timestamptz,
    job_type       varchar(50)  NOT NULL,
    task_type      varchar(50)  NOT NULL,
    task_index     varchar(50)  NOT NULL,
    batch_id       varchar(100) NOT NULL,
    parent_task_id text COLLATE "C",
    parameters     json         NOT NULL,
    result_data    json,
    error_details  text,
    PRIMARY KEY (parent_job_id, stage, task_id)
) WITH (fillfactor = 60);

-- One row a batch of up to 100 tasks: what was planned together and is sent together. While it is
-- 'pending_queue' its messages are owed, so it is the outbox entry of 100 tasks, and its tasks, stored as
-- 'queued', are shown as 'pending_queue'. Marking a batch sent writes this row and none of theirs.
CREATE TABLE task_batches (
    job_id        text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    stage         smallint     NOT NULL,
    batch_no      integer      NOT NULL,
    status        batch_status NOT NULL DEFAULT 'pending_queue',
    task_ids      text[]       NOT NULL,
    -- Sends that began. A resend after a loss gets message ids of its own from it, since a duplicate
    -- detection window would swallow the old ones.
    sends         integer      NOT NULL DEFAULT 0,
    created_at    timestamptz  NOT NULL DEFAULT now(),
    next_send_at  timestamptz  NOT NULL,
    sent_at       timestamptz,
    last_error    text,
    PRIMARY KEY (job_id, stage, batch_no)
) WITH (fillfactor = 80);

CREATE INDEX task_batches_owed ON task_batches (next_send_at) WHERE status = 'pending_queue';

-- Job messages that are owed: written with what makes them due, deleted once sent.
CREATE TABLE outbox (
    job_id        text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    stage         smallint     NOT NULL,
    sends         integer      NOT NULL DEFAULT 0,
    created_at    timestamptz  NOT NULL DEFAULT now(),
    next_send_at  timestamptz  NOT NULL,
    last_error    text,
    PRIMARY KEY (job_id, stage)
);

CREATE INDEX outbox_due ON outbox (next_send_at);
