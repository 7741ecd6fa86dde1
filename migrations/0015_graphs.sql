-- Jobs whose stages form a graph. All stages of such a job are written with the job; each counts the stages that it still
-- waits for. The stages of a line are written one after the other, as before, and leave all of these columns null. The handler
-- of the version before runs its own jobs on this schema, and does not know the job types whose stages form a graph.

-- The text from which jobs were made, such as a workflow file: jobs run as it was when they were submitted.
CREATE TABLE definitions (
    -- The SHA-256 of the source.
    definition_id text COLLATE "C" PRIMARY KEY CHECK (definition_id ~ '^[0-9a-f]{64}$'),
    name          varchar(50) NOT NULL,
    version       integer,
    source        text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE jobs
    ADD COLUMN definition_id text COLLATE "C" REFERENCES definitions,
    -- The stages of a graph that have not ended. The job ends with the last of them.
    ADD COLUMN open_stages smallint,
    -- How the job ended before its last stage, while that stage runs and after it.
    ADD COLUMN ends_as job_status,
    -- Whether stages of other jobs may wait for the end of this job.
    ADD COLUMN is_child boolean;

ALTER TABLE stages
    ADD COLUMN name varchar(50),
    -- How the stage comes to its end: by its tasks, by a decision of its own, by a user's decision, or by another job's end.
    ADD COLUMN kind varchar(10) CHECK (kind IN ('tasks', 'decision', 'gate', 'job')),
    -- The stages that depend on this one: those that need it to complete, and those that only wait for its end.
    ADD COLUMN needed_by smallint[],
    ADD COLUMN followed_by smallint[],
    -- Stages that it depends on and that have not ended. At 0 it is ready, and created_at is the time of that.
    ADD COLUMN waits_for smallint CHECK (waits_for >= 0),
    -- A stage that it needs did not complete, or did not choose it: as soon as it is ready it is skipped.
    ADD COLUMN unmet boolean,
    -- Its failure does not fail the job.
    ADD COLUMN best_effort boolean,
    -- It is the last stage, and runs also after a job that ended before it.
    ADD COLUMN is_finalize boolean,
    -- How it ended. Null if its job ended first.
    ADD COLUMN outcome varchar(10) CHECK (outcome IN ('completed', 'failed', 'skipped', 'rejected')),
    -- The dependents that a decision did not choose.
    ADD COLUMN not_chosen smallint[],
    -- What was decided at a gate, and by when: without a decision in this time, on_timeout is the decision.
    ADD COLUMN decision varchar(10) CHECK (decision IN ('approve', 'reject', 'fail')),
    ADD COLUMN timeout_seconds integer CHECK (timeout_seconds > 0),
    ADD COLUMN on_timeout varchar(10) CHECK (on_timeout IN ('approve', 'reject', 'fail')),
    -- The job that it waits for.
    ADD COLUMN child_job_id text COLLATE "C",
    -- What a stage without tasks resulted in.
    ADD COLUMN output json,
    -- Its entry in the job's stage_results, which is made of these when it is read.
    ADD COLUMN result json;

CREATE INDEX stages_to_finalize ON stages (job_id)
    WHERE is_finalize AND outcome IS NULL AND waits_for > 0 AND advanced_at IS NOT NULL;

CREATE INDEX stages_of_child ON stages (child_job_id) WHERE child_job_id IS NOT NULL AND advanced_at IS NULL;

-- The stage of the predecessor; null: the stage before.
ALTER TABLE tasks ADD COLUMN parent_stage smallint;
