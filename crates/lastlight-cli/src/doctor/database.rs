//! The database: can it be reached, is it one that the app can work with, and is the schema of this
//! version?

use super::Notes;
use lastlight::{
    config::{DatabaseSettings, Timing},
    store::{Examination, SchemaState, examine as look},
};

/// `server_version_num` of the oldest server that is tested against.
const OLDEST: i32 = 140_000;

/// Signatures for the queue services are refused when this machine's clock is off by more.
const CLOCK_FAULT: f64 = 300.0;

/// Ages in answers and ETAs are off by as much.
const CLOCK_WARNING: f64 = 5.0;

/// The page that lists the rights of the app's role, which a test holds exact.
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
    notes
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
            "it takes no writes: a replica, or default_transaction_read_only is on",
            "Name the primary server in DATABASE_URL or POSTGIS_HOST.",
        );
    }
    if privacy == "no TLS" {
        notes.warning(
            "the connection to another machine is not encrypted: password and data go in the clear",
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
            notes.ok(format!("schema {name:?} is of this version (migration {version:04})"));
        }
        (SchemaState::Foreign(tables), _) => notes.fault(
            format!("schema {name:?} holds tables of another program: {}", tables.join(", ")),
            "Set APP_SCHEMA to a schema of lastlight's own; it is made there.",
        ),
        (SchemaState::Missing, true) => notes.warning(
            format!("schema {name:?} is not made yet"),
            "The first start makes it; lastlight migrate does it beforehand.",
        ),
        (SchemaState::Missing, false) => notes.fault(
            format!("schema {name:?} is not made yet, and this role may not make it"),
            migrate,
        ),
        (SchemaState::Behind(versions), true) => notes.warning(
            format!("schema {name:?} is older than this version: {} have not run", listed(versions)),
            "The next start brings it up to date; lastlight migrate does it beforehand.",
        ),
        (SchemaState::Behind(versions), false) => notes.fault(
            format!(
                "schema {name:?} is older than this version, and this role may not change it: {} have not run",
                listed(versions)
            ),
            migrate,
        ),
        (SchemaState::Ahead { unknown, works: true }, _) => notes.warning(
            format!(
                "schema {name:?} is newer than this version, which works with it: {} are not known here",
                listed(unknown)
            ),
            "Deploy the version of lastlight that migrated it, once it may be.",
        ),
        (SchemaState::Ahead { unknown, .. }, _) => notes.fault(
            format!("schema {name:?} is newer than this version: {} are not known here", listed(unknown)),
            "Deploy the version of lastlight that migrated it, or set APP_SCHEMA to another schema.",
        ),
        (SchemaState::Different(versions), _) => notes.fault(
            format!("schema {name:?} was migrated by another program: {} had another text", listed(versions)),
            "Deploy the version of lastlight that migrated it, or set APP_SCHEMA to another schema.",
        ),
        // The list of rights below says which one is missing, and there is one fault, not two.
        (SchemaState::Hidden, _) if !examination.missing_rights.is_empty() => {}
        (SchemaState::Hidden, _) => notes.fault(
            format!("the role {role:?} may not look into schema {name:?}: it lacks USAGE on it"),
            "Grant the app's role what SECURITY.md lists.",
        ),
    }
    // Who may change the schema owns it or is allowed everything that matters by whoever does.
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
                    SchemaState::Hidden =>
                        ", so that nobody can say of which version the schema is",
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
            "Close what needs no connection, or raise max_connections.",
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
    let remedy = "Have both kept by NTP.";
    if off > CLOCK_FAULT {
        notes.fault(
            format!("{what}: queue services refuse signatures that are off by as much"),
            remedy,
        );
    } else {
        notes.warning(format!("{what}: ages and remaining times are off by as much"), remedy);
    }
}

/// Tables, and what the app does with them: the grants that SECURITY.md lists, one right a line.
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
    fn the_rights_are_those_of_the_page() {
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
        assert!(!rights.contains(&("jobs".to_owned(), "DELETE".to_owned())));
    }
}
