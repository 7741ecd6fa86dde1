//! Where PostgreSQL is, and how many connections a process has.

use super::Group;
use crate::config::declaration::{Given, Number, Text};

pub(super) static GROUP: Group = Group {
    title: "Database",
    about: "PostgreSQL: `DATABASE_URL`, or without it `POSTGIS_*`. A host that is not this machine is reached with \
            verified TLS, unless `sslmode` in the URL says otherwise, which is warned about.",
    settings: &[
        &DATABASE_URL,
        &POSTGIS_HOST,
        &POSTGIS_PORT,
        &POSTGIS_USER,
        &POSTGIS_PASSWORD,
        &POSTGIS_DATABASE,
        &PGSSLMODE,
        &APP_SCHEMA,
        &DATABASE_CONNECTIONS,
        &DATABASE_WAIT_SECONDS,
    ],
};

pub(in crate::config) static DATABASE_URL: Given = Given {
    name: "DATABASE_URL",
    allowed: "`postgresql://user:password@host:5432/database`, with what is not a letter or a digit in the password \
              percent-encoded; `Host=…;Database=…;Username=…;Password=…` as ADO.NET takes it; `host=… dbname=… user=… \
              password=…` as libpq takes it",
    is_secret: true,
    meaning: "The database. A parameter that the driver does not know is warned about and ignored.",
};

pub(in crate::config) static POSTGIS_HOST: Given = Given {
    name: "POSTGIS_HOST",
    allowed: "a host, or the folder of a socket",
    is_secret: false,
    meaning: "The server, where there is no `DATABASE_URL`.",
};

pub(in crate::config) static POSTGIS_PORT: Number<u16> = Number {
    name: "POSTGIS_PORT",
    default: 5432,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "Its port.",
};

pub(in crate::config) static POSTGIS_USER: Given = Given {
    name: "POSTGIS_USER",
    allowed: "a role",
    is_secret: false,
    meaning: "Who signs in. Must be set where `POSTGIS_HOST` is.",
};

pub(in crate::config) static POSTGIS_PASSWORD: Given = Given {
    name: "POSTGIS_PASSWORD",
    allowed: "a password",
    is_secret: true,
    meaning: "The role's password, if it has one.",
};

pub(in crate::config) static POSTGIS_DATABASE: Given = Given {
    name: "POSTGIS_DATABASE",
    allowed: "a database",
    is_secret: false,
    meaning: "The database on the server. Must be set where `POSTGIS_HOST` is.",
};

pub(in crate::config) static PGSSLMODE: Given = Given {
    name: "PGSSLMODE",
    allowed: "`verify-full`, `verify-ca`, `require`, `prefer`, `allow`, `disable`",
    is_secret: false,
    meaning: "How `DATABASE_URL` is reached where it has no `sslmode` of its own. Without both: `prefer` on this machine, \
              `verify-full` elsewhere.",
};

pub(in crate::config) static APP_SCHEMA: Text = Text {
    name: "APP_SCHEMA",
    default: "app",
    what: "a schema name",
    allowed: "a-z, 0-9 and _, not beginning with a digit or pg_, at most 63 characters",
    is_allowed: is_schema_name,
    meaning: "The schema of all tables. It is made if it is missing.",
};

fn is_schema_name(text: &str) -> bool {
    let mut characters = text.chars();
    let begins_well =
        characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let goes_on_well = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    begins_well && goes_on_well && text.len() <= 63 && !text.starts_with("pg_")
}

pub(in crate::config) static DATABASE_CONNECTIONS: Number<u32> = Number {
    name: "LASTLIGHT_DATABASE_CONNECTIONS",
    default: 8,
    min: 1,
    max: 100,
    unit: "connections",
    meaning: "The process's pool. Times the instances it must be what the server has.",
};

pub(in crate::config) static DATABASE_WAIT_SECONDS: Number<u64> = Number {
    name: "LASTLIGHT_DATABASE_WAIT_SECONDS",
    default: 5,
    min: 1,
    max: 60,
    unit: "seconds",
    meaning: "How long a request waits for a connection before the database counts as away.",
};
