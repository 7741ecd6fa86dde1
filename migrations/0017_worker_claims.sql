-- Workers claim tasks in batches: the tasks of a batch are ready while the batch is, and a claim of many of them is one row with
-- one lease. A task is written when it ends, or when it needs a state of its own.
-- The handler of the version before does not see batches that are ready, and does not count outcomes of their tasks: these
-- are answered by processes of this version. Tasks that the version before planned are ready on their own, as before.
ALTER TABLE task_batches
    -- The handler of its tasks, if they are for workers.
    ADD COLUMN handler_id integer,
    -- Since this time workers may claim tasks of the batch. Null: no task of it is left, or they are not for workers.
    ADD COLUMN ready_at timestamptz,
    -- Number of its tasks that no claim has taken: the last ones in the order of task_ids.
    ADD COLUMN untaken smallint NOT NULL DEFAULT 0;

CREATE INDEX task_batches_ready ON task_batches (handler_id, ready_at) WHERE ready_at IS NOT NULL;

-- Claims of many tasks of a batch. The attempt of a task in it is its first; it has no state of its own until it ends, is
-- still running at a heartbeat, or the claim's lease expires.
CREATE TABLE worker_claims (
    -- Without a reference: it would lock the job's row at each claim. A claim of a job that is deleted ends with its lease.
    job_id        text COLLATE "C" NOT NULL,
    stage         smallint     NOT NULL,
    -- The tasks in it have these ordinals, both included, and are in this batch.
    first_ordinal integer      NOT NULL,
    last_ordinal  integer      NOT NULL,
    batch_no      integer      NOT NULL,
    worker_id     varchar(100) NOT NULL,
    claimed_at    timestamptz  NOT NULL DEFAULT now(),
    lease_until   timestamptz  NOT NULL,
    PRIMARY KEY (job_id, stage, first_ordinal)
);

CREATE INDEX worker_claims_expiry ON worker_claims (lease_until);
