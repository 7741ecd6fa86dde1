-- What happened to a job and who asked for it. Triggers write it with the changes themselves, whichever statement makes
-- them and whichever version of the handler runs; nothing is written for a single task. And runs: a job that is over may run
-- again under its id, after its tasks were deleted.
ALTER TABLE jobs
    -- The run of the job: 1, and one more after each resubmission.
    ADD COLUMN run integer NOT NULL DEFAULT 1,
    -- The highest number of an attempt at any of its tasks in the runs before. Attempts of this run count from there, so that a
    -- late outcome of a run before is not taken for one of this run.
    ADD COLUMN attempts_before smallint NOT NULL DEFAULT 0,
    -- It is marked to run again, once its tasks are deleted (purging_at).
    ADD COLUMN is_resubmitted boolean NOT NULL DEFAULT false;

-- The same of jobs that were deleted and are submitted again.
ALTER TABLE deleted_jobs
    ADD COLUMN run integer NOT NULL DEFAULT 1,
    ADD COLUMN attempts_before smallint NOT NULL DEFAULT 0;

CREATE TABLE job_events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY,
    -- Without a reference: it would lock the job's row. The events are deleted with the job.
    job_id      text COLLATE "C" NOT NULL,
    run         integer      NOT NULL,
    -- Null: the event concerns the whole job.
    stage       smallint,
    kind        varchar(40)  NOT NULL,
    happened_at timestamptz  NOT NULL DEFAULT clock_timestamp(),
    -- Who asked for it, and why, if a user did.
    requested_by text,
    reason      text,
    detail      json,
    -- What the sweep repaired is one event an hour, stage and kind: how often it did, when last, and to how much.
    repaired_in timestamptz,
    times       integer      NOT NULL DEFAULT 1,
    last_at     timestamptz,
    amount      bigint,
    PRIMARY KEY (job_id, event_id)
);

CREATE UNIQUE INDEX job_events_repaired ON job_events (job_id, run, (COALESCE(stage, 0)), kind, repaired_in)
    WHERE repaired_in IS NOT NULL;

-- Writes an event. The request of a user is a setting of the transaction: {"by": …, "reason": …}.
CREATE FUNCTION note_job_event(of_job text, of_run integer, of_stage smallint, what text, more json) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO job_events (job_id, run, stage, kind, requested_by, reason, detail)
    SELECT of_job, of_run, of_stage, what, request ->> 'by', request ->> 'reason', more
    FROM (SELECT NULLIF(current_setting('lastlight.request', true), '')::json AS request) r
$$;

-- With the rights of its owner: the version before has none on the new table.
CREATE FUNCTION note_job_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL, 'job_submitted',
                               json_build_object('path', NEW.processing_path, 'is_child', NEW.is_child));
        RETURN NULL;
    END IF;
    IF NEW.run > OLD.run THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL, 'job_resubmitted',
                               json_build_object('status', OLD.status, 'created_at', OLD.created_at, 'finished_at', OLD.finished_at,
                                                 'error', left(OLD.error_details, 2000), 'result', OLD.result_data,
                                                 'stage_results', OLD.stage_results));
        RETURN NULL;
    END IF;
    IF OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL, 'job_retried', json_build_object('from', OLD.status));
    END IF;
    IF NEW.pause_requested AND NOT OLD.pause_requested THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL, 'pause_requested', NULL);
    END IF;
    IF NEW.paused_at IS NOT NULL AND OLD.paused_at IS NULL THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL, 'job_paused', NULL);
    END IF;
    IF OLD.pause_requested AND NOT NEW.pause_requested AND NEW.finished_at IS NULL AND OLD.finished_at IS NULL THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL,
                               CASE WHEN OLD.paused_at IS NULL THEN 'pause_withdrawn' ELSE 'job_resumed' END, NULL);
    END IF;
    IF NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL, 'job_' || NEW.status::text,
                               json_build_object('error', left(NEW.error_details, 2000)));
    END IF;
    IF NEW.purging_at IS NOT NULL AND OLD.purging_at IS NULL THEN
        PERFORM note_job_event(NEW.job_id, NEW.run, NULL,
                               CASE WHEN NEW.is_resubmitted THEN 'resubmission_requested' ELSE 'deletion_started' END, NULL);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION note_stage_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    of_run integer;
    was_ready boolean := false;
    said json;
BEGIN
    SELECT run INTO of_run FROM jobs WHERE job_id = NEW.job_id;
    IF TG_OP = 'UPDATE' THEN
        was_ready := COALESCE(OLD.waits_for, 0) = 0 AND OLD.advanced_at IS NULL;
        IF OLD.advanced_at IS NOT NULL AND NEW.advanced_at IS NULL THEN
            PERFORM note_job_event(NEW.job_id, of_run, NEW.stage, 'stage_reopened', NULL);
        END IF;
        IF NEW.decision IS NOT NULL AND OLD.decision IS NULL THEN
            -- PostgreSQL does not look into JSON with this escape.
            said := CASE WHEN strpos(NEW.output::text, '\u0000') = 0 THEN NEW.output END;
            PERFORM note_job_event(NEW.job_id, of_run, NEW.stage, 'gate_decided',
                                   json_build_object('decision', NEW.decision, 'by', said -> 'by', 'comment', said -> 'comment'));
        END IF;
        IF NEW.child_job_id IS NOT NULL AND OLD.child_job_id IS NULL THEN
            PERFORM note_job_event(NEW.job_id, of_run, NEW.stage, 'child_submitted', json_build_object('job_id', NEW.child_job_id));
        END IF;
    END IF;
    -- A stage of a graph that cannot run is ready and ends at once: only its end is noted.
    IF COALESCE(NEW.waits_for, 0) = 0 AND NOT was_ready AND NEW.advanced_at IS NULL AND NEW.unmet IS NOT TRUE THEN
        PERFORM note_job_event(NEW.job_id, of_run, NEW.stage,
                               CASE WHEN NEW.kind = 'gate' THEN 'gate_waiting' ELSE 'stage_started' END, NULL);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.planned_at IS NOT NULL AND OLD.planned_at IS NULL AND COALESCE(NEW.kind, 'tasks') = 'tasks' THEN
            PERFORM note_job_event(NEW.job_id, of_run, NEW.stage, 'stage_planned', json_build_object('tasks', NEW.total));
        END IF;
        IF NEW.advanced_at IS NOT NULL AND OLD.advanced_at IS NULL THEN
            PERFORM note_job_event(NEW.job_id, of_run, NEW.stage, 'stage_ended',
                                   json_build_object('outcome', NEW.outcome, 'completed', NEW.completed, 'failed', NEW.failed,
                                                     'skipped', NEW.skipped));
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- Counts a repair of the sweep: one event an hour for each stage and kind of repair.
CREATE FUNCTION note_repair(of_job text, of_stage smallint, what text, repaired bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    INSERT INTO job_events AS e (job_id, run, stage, kind, repaired_in, last_at, amount)
    SELECT of_job, j.run, of_stage, what, date_trunc('hour', now()), now(), repaired
    FROM jobs j
    WHERE j.job_id = of_job
    ON CONFLICT (job_id, run, (COALESCE(stage, 0)), kind, repaired_in) WHERE repaired_in IS NOT NULL
    DO UPDATE SET times = e.times + 1, last_at = now(), amount = e.amount + repaired
$$;

-- The conditions are checked for each change of a row, before a function is called: counters change often, these columns rarely.
CREATE TRIGGER note_new_job AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION note_job_change();
CREATE TRIGGER note_job_change AFTER UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.finished_at IS DISTINCT FROM NEW.finished_at OR OLD.pause_requested <> NEW.pause_requested
          OR OLD.paused_at IS DISTINCT FROM NEW.paused_at OR OLD.purging_at IS DISTINCT FROM NEW.purging_at)
    EXECUTE FUNCTION note_job_change();
CREATE TRIGGER note_new_stage AFTER INSERT ON stages FOR EACH ROW
    WHEN (COALESCE(NEW.waits_for, 0) = 0)
    EXECUTE FUNCTION note_stage_change();
CREATE TRIGGER note_stage_change AFTER UPDATE ON stages FOR EACH ROW
    WHEN (OLD.advanced_at IS DISTINCT FROM NEW.advanced_at OR OLD.planned_at IS DISTINCT FROM NEW.planned_at
          OR OLD.waits_for IS DISTINCT FROM NEW.waits_for OR OLD.child_job_id IS DISTINCT FROM NEW.child_job_id)
    EXECUTE FUNCTION note_stage_change();
