-- What the attempts of a task say about themselves while they run, and the checkpoint that the next attempt finds. Only
-- tasks that say something have a row, so that claims and completions of all others stay as they are.
CREATE TABLE task_notes (
    job_id        text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    stage         smallint    NOT NULL,
    task_id       text COLLATE "C" NOT NULL,
    -- The attempt that wrote progress, message and log.
    attempt       smallint    NOT NULL,
    -- 0 to 1.
    progress      real,
    message       text,
    -- The last 64 KiB of the log.
    log_tail      text,
    checkpoint    json,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, stage, task_id)
) WITH (fillfactor = 70);
