-- Notifications: other programs are told over HTTP that a job has ended or that a gate waits. A trigger writes what is to be told in
-- the transaction of the event itself, so that no kill loses it; any process then writes one row for each address, and sends it.
ALTER TABLE jobs
    -- The addresses that the job's submission named.
    ADD COLUMN notify text[];

-- Events that are to be told and have no notifications yet. A row is deleted in the transaction that writes them.
CREATE TABLE notification_events (
    job_id   text COLLATE "C" NOT NULL,
    event_id bigint NOT NULL,
    PRIMARY KEY (job_id, event_id)
);

-- One row for each event and address. Without a reference to the job: it may be deleted before everyone was told.
CREATE TABLE notifications (
    -- Made of the event and the address, so that a repeat has the same id.
    notification_id uuid PRIMARY KEY,
    job_id          text COLLATE "C" NOT NULL,
    kind            varchar(40) NOT NULL,
    address         text        NOT NULL,
    -- What is sent; null once it is delivered.
    body            text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    attempts        integer     NOT NULL DEFAULT 0,
    -- When the next attempt is due; while one is made, when its process is presumed dead. Null once it is delivered or given up.
    next_attempt_at timestamptz DEFAULT now(),
    -- The attempt that fails after this is the last one.
    give_up_at      timestamptz NOT NULL,
    delivered_at    timestamptz,
    given_up_at     timestamptz,
    last_error      text
);

CREATE INDEX notifications_due ON notifications (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX notifications_given_up ON notifications (given_up_at) WHERE given_up_at IS NOT NULL;
CREATE INDEX notifications_delivered ON notifications (delivered_at) WHERE delivered_at IS NOT NULL;
CREATE INDEX notifications_of_job ON notifications (job_id, created_at);

-- With the rights of its owner: the version before has none on the new table.
CREATE FUNCTION note_notification_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO notification_events (job_id, event_id) VALUES (NEW.job_id, NEW.event_id);
    RETURN NULL;
END $$;

CREATE TRIGGER note_notification_event AFTER INSERT ON job_events FOR EACH ROW
    WHEN (NEW.kind IN ('job_completed', 'job_failed', 'job_cancelled', 'gate_waiting'))
    EXECUTE FUNCTION note_notification_event();
