-- Bulk operations: one action on all jobs that a filter finds. The sweep carries them out, one job after the other, and notes here
-- after each job where it goes on.
CREATE TABLE bulk_operations (
    operation_id uuid PRIMARY KEY,
    action       varchar(20) NOT NULL,
    -- The conditions, as the API writes them.
    filter       json        NOT NULL,
    requested_by text,
    reason       text,
    -- Only jobs that were submitted before.
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- The number of jobs that it found when it began, counted up to a bound.
    jobs         bigint      NOT NULL,
    has_more     boolean     NOT NULL,
    done         bigint      NOT NULL DEFAULT 0,
    refused      bigint      NOT NULL DEFAULT 0,
    -- Why the last job that was refused was refused.
    last_refusal text,
    -- The position in its lists of jobs: which list, and the last job of it that was looked at.
    list         smallint    NOT NULL DEFAULT 0,
    after_time   timestamptz,
    after_job_id text COLLATE "C",
    -- Who carries it out, and until when nobody else does.
    lease_owner  uuid,
    lease_until  timestamptz,
    finished_at  timestamptz,
    stopped_by   text,
    is_stopped   boolean     NOT NULL DEFAULT false
);

CREATE INDEX bulk_operations_open ON bulk_operations (created_at) WHERE finished_at IS NULL;
CREATE INDEX bulk_operations_newest ON bulk_operations (created_at DESC);
