-- Labels of jobs, and an index of what jobs can be found by: their type, their labels and their parameters. Jobs of before, and
-- those that a handler of the version before stores, have no labels (null); the sweep of this version adds their terms, the
-- newest first, some ten thousand jobs a minute. Makes one index of all jobs: some seconds per million jobs.
ALTER TABLE jobs
    -- An object of texts. Null: the job's terms are not written yet.
    ADD COLUMN labels json;

CREATE INDEX jobs_without_terms ON jobs (created_at) WHERE labels IS NULL;

-- What a job can be found by: at most 50 rows per job, written with the job, never changed, deleted with it. A name is
-- job_type, label.KEY or param.NAME.
CREATE TABLE job_terms (
    job_id     text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL,
    value      text COLLATE "C" NOT NULL,
    -- That of the job: a search reads the jobs of a term in this order.
    created_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, name)
);

CREATE INDEX job_terms_newest ON job_terms (name, value, created_at, job_id);

-- For searches by the beginning of a job type or of a label's value.
CREATE INDEX job_terms_words ON job_terms (value, created_at, job_id) WHERE name < 'param.';
