-- The archive: a run of a job is written to blob storage before its tasks are deleted. The handler of the version before runs on this
-- schema and knows no archive: it deletes jobs as before, so set ARCHIVE_CONTAINER once all processes have the new version.
ALTER TABLE jobs
    -- The last run of the job that is in the archive; 0: none.
    ADD COLUMN archived_run integer NOT NULL DEFAULT 0,
    -- The attempt that writes the run to the archive, and when it is presumed dead. Without an attempt: the time before which nobody
    -- tries again.
    ADD COLUMN archiving_by uuid,
    ADD COLUMN archiving_until timestamptz;

ALTER TABLE instances
    -- Whether the process has an archive. While a process that has one is known, no process deletes what is not in it.
    ADD COLUMN archives boolean NOT NULL DEFAULT false;

-- Writes the event of a run that is in the archive. With the rights of its owner: the app's role may not write events.
CREATE FUNCTION note_archived(of_job text, of_run integer, more json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT note_job_event(of_job, of_run, NULL, 'job_archived', more)
$$;
