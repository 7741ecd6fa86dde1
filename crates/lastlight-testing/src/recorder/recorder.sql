-- The recorder's log: every write of a task's status, every change of a job's, and
-- each time that a stage is advanced. Triggers, so that what is recorded is what was committed,
-- whoever wrote it and however.
CREATE SCHEMA chaos;

CREATE TABLE chaos.task_writes (
    number      bigint GENERATED ALWAYS AS IDENTITY,
    job_id      text        NOT NULL,
    stage       smallint    NOT NULL,
    task_index  text        NOT NULL,
    -- NULL: the row was inserted.
    old_status  text,
    -- NULL: the row was deleted.
    new_status  text,
    attempt     smallint    NOT NULL,
    -- The first attempt of a worker's claim of a batch, which the task did not count before: it starts and ends here.
    of_a_claim  boolean     NOT NULL DEFAULT false,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE chaos.job_writes (
    number      bigint GENERATED ALWAYS AS IDENTITY,
    job_id      text        NOT NULL,
    old_status  text,
    new_status  text,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE chaos.advances (
    number      bigint GENERATED ALWAYS AS IDENTITY,
    job_id      text        NOT NULL,
    stage       smallint    NOT NULL,
    -- False: a retry reopened the stage.
    advanced    boolean     NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION chaos.note_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO chaos.task_writes (job_id, stage, task_index, new_status, attempt)
        VALUES (NEW.parent_job_id, NEW.stage, NEW.task_index, NEW.status::text, NEW.attempt);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO chaos.task_writes (job_id, stage, task_index, old_status, attempt)
        VALUES (OLD.parent_job_id, OLD.stage, OLD.task_index, OLD.status::text, OLD.attempt);
    ELSE
        INSERT INTO chaos.task_writes (job_id, stage, task_index, old_status, new_status, attempt, of_a_claim)
        VALUES (NEW.parent_job_id, NEW.stage, NEW.task_index, OLD.status::text, NEW.status::text, NEW.attempt,
                NEW.handler_id IS NOT NULL AND OLD.status = 'queued' AND OLD.attempt = 0 AND NEW.attempt = 1);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION chaos.note_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.job_writes (job_id, old_status, new_status)
    VALUES (COALESCE(NEW.job_id, OLD.job_id), OLD.status::text, NEW.status::text);
    RETURN NULL;
END $$;

CREATE FUNCTION chaos.note_stage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.advances (job_id, stage, advanced) VALUES (NEW.job_id, NEW.stage, NEW.advanced_at IS NOT NULL);
    RETURN NULL;
END $$;

-- A write of the status that it has already is a write too: a second outcome must not hide by being
-- the same.
CREATE TRIGGER chaos_note AFTER INSERT OR DELETE OR UPDATE OF status ON app.tasks
    FOR EACH ROW EXECUTE FUNCTION chaos.note_task();
CREATE TRIGGER chaos_note AFTER INSERT OR DELETE OR UPDATE OF status ON app.jobs
    FOR EACH ROW EXECUTE FUNCTION chaos.note_job();
CREATE TRIGGER chaos_note AFTER UPDATE OF advanced_at ON app.stages
    FOR EACH ROW EXECUTE FUNCTION chaos.note_stage();

-- What happens to the nodes of graphs.
CREATE TABLE chaos.node_changes (
    number      bigint GENERATED ALWAYS AS IDENTITY,
    job_id      text        NOT NULL,
    stage       smallint    NOT NULL,
    -- ready, planned, ended, decided, child, or reopened.
    what        text        NOT NULL,
    -- The outcome, the decision, or the id of the job that the node waits for; NULL: it was removed.
    value       text,
    at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION chaos.note_node() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.node_changes (job_id, stage, what, value)
    VALUES (NEW.job_id, NEW.stage, TG_ARGV[0],
            CASE TG_ARGV[0] WHEN 'ended' THEN NEW.outcome WHEN 'decided' THEN NEW.decision
                            WHEN 'child' THEN NEW.child_job_id END);
    RETURN NULL;
END $$;

CREATE TRIGGER chaos_note_ready AFTER UPDATE OF waits_for ON app.stages FOR EACH ROW
    WHEN (OLD.waits_for > 0 AND NEW.waits_for = 0) EXECUTE FUNCTION chaos.note_node('ready');
CREATE TRIGGER chaos_note_planned AFTER UPDATE OF planned_at ON app.stages FOR EACH ROW
    WHEN (NEW.kind IS NOT NULL AND OLD.planned_at IS NULL AND NEW.planned_at IS NOT NULL)
    EXECUTE FUNCTION chaos.note_node('planned');
-- Writes of the same value are noted too, so that nothing that happens twice hides.
CREATE TRIGGER chaos_note_ended AFTER UPDATE OF outcome ON app.stages FOR EACH ROW
    WHEN (NEW.outcome IS NOT NULL) EXECUTE FUNCTION chaos.note_node('ended');
CREATE TRIGGER chaos_note_decided AFTER UPDATE OF decision ON app.stages FOR EACH ROW
    WHEN (NEW.decision IS NOT NULL) EXECUTE FUNCTION chaos.note_node('decided');
CREATE TRIGGER chaos_note_child AFTER UPDATE OF child_job_id ON app.stages FOR EACH ROW
    WHEN (NEW.child_job_id IS NOT NULL) EXECUTE FUNCTION chaos.note_node('child');
CREATE TRIGGER chaos_note_reopened AFTER UPDATE OF advanced_at ON app.stages FOR EACH ROW
    WHEN (NEW.kind IS NOT NULL AND OLD.advanced_at IS NOT NULL AND NEW.advanced_at IS NULL)
    EXECUTE FUNCTION chaos.note_node('reopened');
