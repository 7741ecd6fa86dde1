//! The connection to PostgreSQL, and the size of the connection pool.

use super::Group;
use crate::config::declaration::{Given, Number, Text};

pub(super) static GROUP: Group = Group {
    title: "Database",
    about: "PostgreSQL: `DATABASE_URL`, or `POSTGIS_*` if it is not set. Connections to another machine use verified \
            TLS unless `sslmode` in the URL says otherwise, which causes a warning.",
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
    allowed: "`postgresql://user:password@host:5432/database`, with characters other than letters and digits in the \
              password percent-encoded; the ADO.NET format `Host=…;Database=…;Username=…;Password=…`; or the libpq format \
              `host=… dbname=… user=… password=…`",
    is_secret: true,
    meaning: "The database connection. Parameters unknown to the driver are ignored with a warning.",
};

pub(in crate::config) static POSTGIS_HOST: Given = Given {
    name: "POSTGIS_HOST",
    allowed: "a host, or the folder of a Unix socket",
    is_secret: false,
    meaning: "The database server, used if `DATABASE_URL` is not set.",
};

pub(in crate::config) static POSTGIS_PORT: Number<u16> = Number {
    name: "POSTGIS_PORT",
    default: 5432,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "The port of the server.",
};

pub(in crate::config) static POSTGIS_USER: Given = Given {
    name: "POSTGIS_USER",
    allowed: "a role name",
    is_secret: false,
    meaning: "The role that connects. Required if `POSTGIS_HOST` is set.",
};

pub(in crate::config) static POSTGIS_PASSWORD: Given = Given {
    name: "POSTGIS_PASSWORD",
    allowed: "a password",
    is_secret: true,
    meaning: "The password of the role, if it has one.",
};

pub(in crate::config) static POSTGIS_DATABASE: Given = Given {
    name: "POSTGIS_DATABASE",
    allowed: "a database name",
    is_secret: false,
    meaning: "The database on the server. Required if `POSTGIS_HOST` is set.",
};

pub(in crate::config) static PGSSLMODE: Given = Given {
    name: "PGSSLMODE",
    allowed: "`verify-full`, `verify-ca`, `require`, `prefer`, `allow`, `disable`",
    is_secret: false,
    meaning: "The `sslmode` of `DATABASE_URL` if the URL does not contain one. If neither is set: `prefer` on this machine, \
              `verify-full` elsewhere.",
};

pub(in crate::config) static APP_SCHEMA: Text = Text {
    name: "APP_SCHEMA",
    default: "app",
    what: "a schema name",
    allowed: "a-z, 0-9 and _, not starting with a digit or pg_, at most 63 characters",
    is_allowed: is_schema_name,
    meaning: "The schema of all tables. It is created if it is missing.",
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
    meaning: "Size of the process's connection pool. Multiplied by the number of instances, it must not exceed the server's limit.",
};

pub(in crate::config) static DATABASE_WAIT_SECONDS: Number<u64> = Number {
    name: "LASTLIGHT_DATABASE_WAIT_SECONDS",
    default: 5,
    min: 1,
    max: 60,
    unit: "seconds",
    meaning: "Timeout of a request for a connection. After it, the database counts as unavailable.",
};
