//! Checks that the database can be reached, that the app can work with it, and that the schema
//! matches this version.

use super::Notes;
use lastlight_engine::{
    config::{DatabaseSettings, Timing},
    store::{Examination, SchemaState, UnservedHandler, examine as look},
};

/// `server_version_num` of the oldest server that is tested against.
const OLDEST: i32 = 140_000;

/// Seconds that this machine's clock may be off before queue services reject its signatures.
const CLOCK_FAULT: f64 = 300.0;

/// Seconds from which wrong ages and ETAs are worth a warning.
const CLOCK_WARNING: f64 = 5.0;

/// The page that lists the rights of the app's role; a test checks that the list is exact.
const SECURITY: &str = include_str!("../../../../SECURITY.md");

pub(super) async fn examine(settings: &DatabaseSettings, timing: &Timing) -> Notes {
    let mut notes = Notes::on("database");
    let place = format!(
        "{}:{}/{}",
        settings.connect.get_host(),
        settings.connect.get_port(),
        settings.connect.get_database().unwrap_or_default()
    );
    let examination = match look(settings, &rights()).await {
        Ok(examination) => examination,
        Err(error) => {
            notes.fault(format!("{place}: {error}"), error.remedy);
            return notes;
        }
    };
    server(&place, settings, &examination, &mut notes);
    schema(settings, &examination, &mut notes);
    connections(settings, timing, &examination, &mut notes);
    clock(&examination, &mut notes);
    workers(&examination, &mut notes);
    if examination.notifications_given_up > 0 {
        notes.warning(
            format!("{} notifications were given up", examination.notifications_given_up),
            "lastlight notifications shows why; lastlight notifications retry --all sends them again.",
        );
    }
    notes
}

fn workers(examination: &Examination, notes: &mut Notes) {
    for UnservedHandler { queue, name, was_served } in &examination.unserved {
        let since = if *was_served {
            "has asked for them for two minutes"
        } else {
            "has ever asked for them"
        };
        notes.warning(
            format!("tasks of the handler {name:?} in queue {queue:?} wait for a worker, and none {since}"),
            format!("Start a worker that has this handler, with --queue {queue}; docs/howto/workers.md."),
        );
    }
}

fn server(place: &str, settings: &DatabaseSettings, examination: &Examination, notes: &mut Notes) {
    let Examination {
        version,
        version_text,
        is_read_only,
        is_encrypted,
        is_pooled,
        connected_in,
        ..
    } = examination;
    let privacy = if *is_encrypted {
        "TLS"
    } else if settings.is_on_this_machine() {
        "this machine"
    } else {
        "no TLS"
    };
    notes.ok(format!(
        "{place} answers{}: PostgreSQL {version_text}, {privacy}, connected in {} ms",
        if *is_pooled { " through a pooler" } else { "" },
        connected_in.as_millis()
    ));
    if *version < OLDEST {
        notes.fault(format!("PostgreSQL {version_text} is too old"), "Use PostgreSQL 14 or later.");
    }
    if *is_read_only {
        notes.fault(
            "the server accepts no writes: it is a replica, or default_transaction_read_only is on",
            "Name the primary server in DATABASE_URL or POSTGIS_HOST.",
        );
    }
    if privacy == "no TLS" {
        notes.warning(
            "the connection to another machine is not encrypted: password and data are sent in plain text",
            "Leave sslmode out of DATABASE_URL, or set it to verify-full.",
        );
    }
}

fn schema(settings: &DatabaseSettings, examination: &Examination, notes: &mut Notes) {
    let (name, role) = (&settings.schema, settings.connect.get_username());
    let migrate = "Run lastlight migrate, with a role that may change the schema.";
    let listed = |versions: &[i64]| {
        let all: Vec<String> = versions.iter().map(|version| format!("{version:04}")).collect();
        all.join(", ")
    };
    match (&examination.schema, examination.may_change_schema) {
        (SchemaState::Current { version }, _) => {
            notes.ok(format!("schema {name:?} matches this version (migration {version:04})"));
        }
        (SchemaState::Foreign(tables), _) => notes.fault(
            format!("schema {name:?} holds tables of another program: {}", tables.join(", ")),
            "Set APP_SCHEMA to a schema that only lastlight uses; it is created there.",
        ),
        (SchemaState::Missing, true) => notes.warning(
            format!("schema {name:?} does not exist yet"),
            "The first start creates it; lastlight migrate creates it beforehand.",
        ),
        (SchemaState::Missing, false) => notes.fault(
            format!("schema {name:?} does not exist yet, and this role may not create it"),
            migrate,
        ),
        (SchemaState::Behind(versions), true) => notes.warning(
            format!("schema {name:?} is older than this version: migrations {} have not run", listed(versions)),
            "The next start updates it; lastlight migrate updates it beforehand.",
        ),
        (SchemaState::Behind(versions), false) => notes.fault(
            format!(
                "schema {name:?} is older than this version, and this role may not change it: migrations {} have not run",
                listed(versions)
            ),
            migrate,
        ),
        (SchemaState::Ahead { unknown, works: true }, _) => notes.warning(
            format!(
                "schema {name:?} is newer than this version, which works with it: migrations {} are unknown",
                listed(unknown)
            ),
            "Deploy the version of lastlight that migrated it, when convenient.",
        ),
        (SchemaState::Ahead { unknown, .. }, _) => notes.fault(
            format!("schema {name:?} is newer than this version: migrations {} are unknown", listed(unknown)),
            "Deploy the version of lastlight that migrated it, or set APP_SCHEMA to another schema.",
        ),
        (SchemaState::Different(versions), _) => notes.fault(
            format!("schema {name:?} was migrated by another program: migrations {} have a different text", listed(versions)),
            "Deploy the version of lastlight that migrated it, or set APP_SCHEMA to another schema.",
        ),
        // The list of missing rights below includes this one: report one fault, not two.
        (SchemaState::Hidden, _) if !examination.missing_rights.is_empty() => {}
        (SchemaState::Hidden, _) => notes.fault(
            format!("the role {role:?} may not read schema {name:?}: it lacks USAGE on it"),
            "Grant the app's role what SECURITY.md lists.",
        ),
    }
    // A role that may change the schema owns it, or its owner granted it all relevant rights.
    let missing: Vec<String> = examination
        .missing_rights
        .iter()
        .map(|right| format!("{} on {}", right.privilege, right.table))
        .collect();
    if !missing.is_empty() {
        notes.fault(
            format!(
                "the role {role:?} lacks {}{}",
                missing.join(", "),
                match examination.schema {
                    SchemaState::Hidden => ", so the version of the schema cannot be determined",
                    _ => "",
                }
            ),
            "Grant the app's role what SECURITY.md lists.",
        );
    }
}

fn connections(
    settings: &DatabaseSettings,
    timing: &Timing,
    examination: &Examination,
    notes: &mut Notes,
) {
    let (pool, instances) = (settings.connections, timing.instances);
    let wanted = u64::from(pool) * u64::from(instances);
    let offered = u64::from(examination.connections.saturating_sub(examination.reserved));
    let sum = format!(
        "{instances} instance(s) x {pool} connections = {wanted}; the server has {offered}"
    );
    if wanted > offered {
        notes.fault(
            sum,
            "Lower LASTLIGHT_DATABASE_CONNECTIONS or LASTLIGHT_INSTANCES (WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT), or raise \
             max_connections.",
        );
    } else if u64::from(examination.used) + u64::from(pool) > offered {
        notes.warning(
            format!("{sum}, and {} of them are in use", examination.used),
            "Close connections that are not needed, or raise max_connections.",
        );
    } else {
        notes.ok(sum);
    }
}

fn clock(examination: &Examination, notes: &mut Notes) {
    let ahead = examination.clock_ahead;
    let off = ahead.abs();
    let which = if ahead > 0.0 { "behind" } else { "ahead of" };
    if off < CLOCK_WARNING {
        notes.ok("this machine's clock agrees with the server's");
        return;
    }
    let what = format!("this machine's clock is {off:.0} s {which} the database server's");
    let remedy = "Synchronize both with NTP.";
    if off > CLOCK_FAULT {
        notes.fault(
            format!("{what}: queue services reject signatures that are off by that much"),
            remedy,
        );
    } else {
        notes.warning(format!("{what}: ages and remaining times are off by that much"), remedy);
    }
}

/// Tables with the privileges that the app needs, from the grants that SECURITY.md lists.
fn rights() -> Vec<(String, String)> {
    let mut rights = Vec::new();
    for line in SECURITY.lines() {
        let Some((privileges, rest)) =
            line.strip_prefix("GRANT ").and_then(|line| line.split_once(" ON app."))
        else {
            continue;
        };
        let tables = rest.split(" TO ").next().unwrap_or_default();
        for table in tables.split(", ") {
            let table = table.trim_start_matches("app.");
            rights.extend(
                privileges.split(", ").map(|privilege| (table.to_owned(), privilege.to_owned())),
            );
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_from_security_md() {
        let rights = rights();
        for (table, privilege) in [
            ("jobs", "INSERT"),
            ("tasks", "UPDATE"),
            ("outbox", "DELETE"),
            ("_sqlx_migrations", "SELECT"),
        ] {
            assert!(
                rights.contains(&(table.to_owned(), privilege.to_owned())),
                "{table} {privilege}: {rights:?}"
            );
        }
        assert!(!rights.contains(&("definitions".to_owned(), "DELETE".to_owned())));
    }
}
