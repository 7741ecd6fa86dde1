-- What was ever measured, kept as it grows: a scraper's counters, whose reading must not grow with the hours. A total is the
-- row of hour -infinity in the table of its hours. The database keeps it, so that it is true whichever version of the app
-- writes an hour, and whoever does.

-- Nobody measures meanwhile: an hour is in the sums below or comes by the trigger.
LOCK TABLE task_rollups, job_rollups, latency_rollups IN SHARE ROW EXCLUSIVE MODE;

INSERT INTO task_rollups (hour, processing_path, job_type, stage, stages, completed, failed, skipped, attempts, retries,
                          messages, busy_seconds)
SELECT '-infinity', processing_path, job_type, stage, sum(stages), sum(completed), sum(failed), sum(skipped), sum(attempts),
       sum(retries), sum(messages), sum(busy_seconds)
FROM task_rollups
GROUP BY processing_path, job_type, stage;

INSERT INTO job_rollups (hour, processing_path, job_type, completed, failed, cancelled, timed_out)
SELECT '-infinity', processing_path, job_type, sum(completed), sum(failed), sum(cancelled), sum(timed_out)
FROM job_rollups
GROUP BY processing_path, job_type;

INSERT INTO latency_rollups (hour, processing_path, job_type, stage, metric, bucket, samples, total_ms)
SELECT '-infinity', processing_path, job_type, stage, metric, bucket, sum(samples), sum(total_ms)
FROM latency_rollups
GROUP BY processing_path, job_type, stage, metric, bucket;

-- Each takes the same lock first, and holds it until the transaction ends: two that write other hours of the same totals
-- would meet there in any order. These triggers run when a statement has all its other locks. OLD is null for a new hour.

CREATE FUNCTION add_to_task_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(' ', TG_TABLE_SCHEMA, 'totals'), 7));
    INSERT INTO task_rollups AS r (hour, processing_path, job_type, stage, stages, completed, failed, skipped, attempts,
                                   retries, messages, busy_seconds)
    VALUES ('-infinity', NEW.processing_path, NEW.job_type, NEW.stage, NEW.stages - COALESCE(OLD.stages, 0),
            NEW.completed - COALESCE(OLD.completed, 0), NEW.failed - COALESCE(OLD.failed, 0),
            NEW.skipped - COALESCE(OLD.skipped, 0), NEW.attempts - COALESCE(OLD.attempts, 0),
            NEW.retries - COALESCE(OLD.retries, 0), NEW.messages - COALESCE(OLD.messages, 0),
            NEW.busy_seconds - COALESCE(OLD.busy_seconds, 0))
    ON CONFLICT (hour, processing_path, job_type, stage) DO UPDATE
    SET stages = r.stages + EXCLUDED.stages, completed = r.completed + EXCLUDED.completed,
        failed = r.failed + EXCLUDED.failed, skipped = r.skipped + EXCLUDED.skipped,
        attempts = r.attempts + EXCLUDED.attempts, retries = r.retries + EXCLUDED.retries,
        messages = r.messages + EXCLUDED.messages, busy_seconds = r.busy_seconds + EXCLUDED.busy_seconds;
    RETURN NULL;
END $$;

CREATE FUNCTION add_to_job_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(' ', TG_TABLE_SCHEMA, 'totals'), 7));
    INSERT INTO job_rollups AS r (hour, processing_path, job_type, completed, failed, cancelled, timed_out)
    VALUES ('-infinity', NEW.processing_path, NEW.job_type, NEW.completed - COALESCE(OLD.completed, 0),
            NEW.failed - COALESCE(OLD.failed, 0), NEW.cancelled - COALESCE(OLD.cancelled, 0),
            NEW.timed_out - COALESCE(OLD.timed_out, 0))
    ON CONFLICT (hour, processing_path, job_type) DO UPDATE
    SET completed = r.completed + EXCLUDED.completed, failed = r.failed + EXCLUDED.failed,
        cancelled = r.cancelled + EXCLUDED.cancelled, timed_out = r.timed_out + EXCLUDED.timed_out;
    RETURN NULL;
END $$;

CREATE FUNCTION add_to_latency_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(' ', TG_TABLE_SCHEMA, 'totals'), 7));
    INSERT INTO latency_rollups AS r (hour, processing_path, job_type, stage, metric, bucket, samples, total_ms)
    VALUES ('-infinity', NEW.processing_path, NEW.job_type, NEW.stage, NEW.metric, NEW.bucket,
            NEW.samples - COALESCE(OLD.samples, 0), NEW.total_ms - COALESCE(OLD.total_ms, 0))
    ON CONFLICT (hour, processing_path, job_type, stage, metric, bucket) DO UPDATE
    SET samples = r.samples + EXCLUDED.samples, total_ms = r.total_ms + EXCLUDED.total_ms;
    RETURN NULL;
END $$;

-- Not for the totals themselves.
CREATE TRIGGER totals AFTER INSERT OR UPDATE ON task_rollups
    FOR EACH ROW WHEN (NEW.hour > '-infinity') EXECUTE FUNCTION add_to_task_totals();
CREATE TRIGGER totals AFTER INSERT OR UPDATE ON job_rollups
    FOR EACH ROW WHEN (NEW.hour > '-infinity') EXECUTE FUNCTION add_to_job_totals();
CREATE TRIGGER totals AFTER INSERT OR UPDATE ON latency_rollups
    FOR EACH ROW WHEN (NEW.hour > '-infinity') EXECUTE FUNCTION add_to_latency_totals();
