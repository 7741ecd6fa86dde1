-- What was measured, gained from what the tables say after a stage or a job is over: nothing on the way to a task's outcome
-- writes here. An hour's rows are that hour's ends; nothing is ever counted back.

-- When a stage was last measured, and what of its growing sums is in the rollups: one that a retry opened again is measured
-- again for the rest.
ALTER TABLE stages
    ADD COLUMN measured_at timestamptz,
    ADD COLUMN measured_attempts bigint NOT NULL DEFAULT 0,
    ADD COLUMN measured_retries bigint NOT NULL DEFAULT 0,
    ADD COLUMN measured_messages bigint NOT NULL DEFAULT 0;

ALTER TABLE jobs ADD COLUMN measured_at timestamptz;

-- What is over and not measured, or not since it ended. Small at any size of the tables. A completion's columns are in
-- neither.
CREATE INDEX stages_unmeasured ON stages (advanced_at)
    WHERE advanced_at IS NOT NULL AND (measured_at IS NULL OR measured_at < advanced_at);
CREATE INDEX jobs_unmeasured ON jobs (finished_at)
    WHERE finished_at IS NOT NULL AND (measured_at IS NULL OR measured_at < finished_at);

-- Tasks with an outcome, by the hour in which their stage ended.
CREATE TABLE task_rollups (
    hour            timestamptz NOT NULL,
    processing_path varchar(20) NOT NULL,
    job_type        varchar(50) NOT NULL,
    stage           smallint    NOT NULL,
    stages          bigint      NOT NULL,
    completed       bigint      NOT NULL,
    failed          bigint      NOT NULL,
    skipped         bigint      NOT NULL,
    attempts        bigint      NOT NULL,
    retries         bigint      NOT NULL,
    messages        bigint      NOT NULL,
    -- From a stage's first batch to its last outcome.
    busy_seconds    double precision NOT NULL,
    PRIMARY KEY (hour, processing_path, job_type, stage)
);

-- Jobs that are over, by the hour in which they ended. Timed out: failed at their deadline; these are among the failed.
CREATE TABLE job_rollups (
    hour            timestamptz NOT NULL,
    processing_path varchar(20) NOT NULL,
    job_type        varchar(50) NOT NULL,
    completed       bigint      NOT NULL,
    failed          bigint      NOT NULL,
    cancelled       bigint      NOT NULL,
    timed_out       bigint      NOT NULL,
    PRIMARY KEY (hour, processing_path, job_type)
);

-- Histograms. Bucket b holds what took from 2^(b/8) to 2^((b+1)/8) ms; bucket 0 also what took less. Empty ones have no
-- row. Stage 0: the job.
CREATE TABLE latency_rollups (
    hour            timestamptz NOT NULL,
    processing_path varchar(20) NOT NULL,
    job_type        varchar(50) NOT NULL,
    stage           smallint    NOT NULL,
    metric          varchar(20) NOT NULL CHECK (metric IN ('queue_wait', 'run', 'job')),
    bucket          smallint    NOT NULL CHECK (bucket BETWEEN 0 AND 400),
    samples         bigint      NOT NULL,
    total_ms        double precision NOT NULL,
    PRIMARY KEY (hour, processing_path, job_type, stage, metric, bucket)
);
