//! The other settings that the binary reads: those of the command line, `doctor`, the local cloud,
//! chaos, sign-in and the database driver. A search through the source checks that none is missing
//! here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use super::{GROUPS, Group};
use crate::config::{
    BlobSettings, Env, Settings,
    declaration::{Declared, Form},
    host_json,
};

/// A setting that is not read through [`Env`].
struct Elsewhere {
    name: &'static str,
    allowed: &'static str,
    default: &'static str,
    is_secret: bool,
    meaning: &'static str,
}

impl Declared for Elsewhere {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn form(&self) -> Form {
        Form::Words(self.allowed)
    }

    fn default(&self) -> Option<String> {
        (!self.default.is_empty()).then(|| self.default.to_owned())
    }

    fn is_secret(&self) -> bool {
        self.is_secret
    }
}

const PLAIN: Elsewhere =
    Elsewhere { name: "", allowed: "", default: "", is_secret: false, meaning: "" };

const JOB_HOST: &str = "AzureFunctionsJobHost__";

/// The groups, in the order of docs/SETTINGS.md.
pub(super) static ELSEWHERE: &[&Group] = &[
    &Group {
        title: "The command line",
        about: "Arguments override these; see [CLI.md](CLI.md).",
        settings: &[
            &Elsewhere {
                name: "LASTLIGHT_URL",
                allowed: "an address; plain HTTP only to this machine",
                default: "http://127.0.0.1:7071",
                meaning: "The app that the commands call.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_KEY",
                allowed: "a function key, or the master key for `poison`",
                is_secret: true,
                meaning: "The key that the commands send.",
                ..PLAIN
            },
            &Elsewhere {
                name: "NO_COLOR",
                allowed: "anything",
                meaning: "Disables colours.",
                ..PLAIN
            },
            &Elsewhere {
                name: "TERM",
                allowed: "`dumb`, or the terminal's name",
                meaning: "A `dumb` terminal gets no colours.",
                ..PLAIN
            },
            &Elsewhere {
                name: "USER",
                allowed: "text",
                meaning: "Who asks for a change of a job, for its events, unless `--by` says so.",
                ..PLAIN
            },
        ],
    },
    &Group {
        title: "Storage accounts of zones",
        about: "A validator of a workflow may name a zone, such as `bronze`: the storage account in which it looks for blobs.",
        settings: &[&Elsewhere {
            name: "LASTLIGHT_STORAGE_<ZONE>",
            allowed: "a connection string as in `AzureWebJobsStorage`, with `BlobEndpoint` in place of `QueueEndpoint`, or \
                      `https://<account>.blob.core.windows.net` for sign-in by identity",
            is_secret: true,
            meaning: "The storage account of a zone, for example `LASTLIGHT_STORAGE_BRONZE`; characters of the zone's name other \
                      than letters and digits become `_`. If not set, the zone is in the app's own account.",
            ..PLAIN
        }],
    },
    &Group {
        title: "The Functions host and the local host",
        about: "`lastlight local` and `lastlight demo` set the connections, the queues and `LASTLIGHT_LOST_AFTER_SECONDS` of \
                their handler, and pass `LOG_LEVEL` and `LOG_FORMAT` on; `--setting NAME=VALUE` overrides all of these.",
        settings: &[
            &Elsewhere {
                name: "FUNCTIONS_WORKER_RUNTIME",
                allowed: "`custom`",
                meaning: "Makes the host start this handler. `doctor` checks it.",
                ..PLAIN
            },
            &Elsewhere {
                name: "AzureFunctionsJobHost__<path>",
                allowed: "a value of host.json",
                meaning: "Overrides a value of host.json, for example `AzureFunctionsJobHost__extensions__queues__batchSize`. The \
                          local host and `doctor` read it as Azure does.",
                ..PLAIN
            },
            &Elsewhere {
                name: "AzureWebJobs.<function>.Disabled",
                allowed: "`true` or `1`; any other value means no",
                meaning: "Disables a function; `AzureWebJobs__<function>__Disabled` does the same.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_LOCAL_MOST_CRASHES",
                allowed: "a number",
                default: "3",
                meaning: "Local host only: number of crashes of the handler within half an hour after which it gives up.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_LOCAL_BLOB_ENDPOINT",
                allowed: "`http://127.0.0.1:10000/devstoreaccount1`",
                meaning: "Local cloud only: the blob service of its storage account, for example that of Azurite. Without it, the \
                          account has queues only.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_LOCAL_HOSTS",
                allowed: "names or addresses of hosts, separated by commas",
                meaning: "Local host only: additional hosts allowed in the `Host` and `Origin` headers of requests. Others than these \
                          and this machine are rejected, since otherwise any web page could submit jobs.",
                ..PLAIN
            },
        ],
    },
    &Group {
        title: "Sign-in by identity",
        about: "The platform sets these. They select the identity: the workload identity, the app's managed identity or, \
                without both, that of the developer's tools (`az login`).",
        settings: &[
            &Elsewhere {
                name: "AZURE_FEDERATED_TOKEN_FILE",
                allowed: "a file",
                meaning: "If set, the workload identity signs in.",
                ..PLAIN
            },
            &Elsewhere {
                name: "IDENTITY_ENDPOINT",
                allowed: "an address",
                meaning: "If set, the app's managed identity signs in.",
                ..PLAIN
            },
            &Elsewhere {
                name: "IDENTITY_HEADER",
                allowed: "any text",
                is_secret: true,
                meaning: "The value of the header that this endpoint requires.",
                ..PLAIN
            },
        ],
    },
    &Group {
        title: "Chaos",
        about: "`lastlight chaos` sets these for the handlers that it starts. Never set them for a production app. The \
                deployed binary does not read them.",
        settings: &[
            &Elsewhere {
                name: "LASTLIGHT_CHAOS_FAILPOINT",
                allowed: "`<place>:<which time>:kill`, `…:error` or `…:delay=<ms>`",
                meaning: "The point at which the handler crashes, fails or waits.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_CHAOS_HITS",
                allowed: "a file",
                meaning: "The file that records that the failpoint was hit, so that it is hit once.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_CHAOS_LEDGER",
                allowed: "a file",
                meaning: "The file in which the job types `chaos` and `graph` record their runs; without it there are no such job types.",
                ..PLAIN
            },
            &Elsewhere {
                name: "LASTLIGHT_CHAOS_CLOCK_SKEW_SECONDS",
                allowed: "a number",
                meaning: "The error of the handler's clock, in seconds.",
                ..PLAIN
            },
        ],
    },
];

/// The variables that the database driver reads itself, with an example value for each.
pub(super) const DRIVER: [(&str, &str); 11] = [
    ("PGHOST", "db.example"),
    ("PGHOSTADDR", "10.0.0.4"),
    ("PGPORT", "6543"),
    ("PGUSER", "somebody"),
    ("PGPASSWORD", "something"),
    ("PGDATABASE", "somewhere"),
    ("PGSSLROOTCERT", "root.crt"),
    ("PGSSLCERT", "client.crt"),
    ("PGSSLKEY", "client.key"),
    ("PGAPPNAME", "some-app"),
    ("PGOPTIONS", "-c jit=off"),
];

/// Variables that are read but are not settings: the search path of programs, the switch of the test
/// that writes the page, and the blob service that a benchmark measures.
const NO_SETTINGS: [&str; 5] =
    ["PATH", "HOME", "XDG_CACHE_HOME", "UPDATE_DOCS", "AZURITE_BLOB_ENDPOINT"];

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![root.join("src")];
    let crates = fs::read_dir(root.join("crates")).unwrap();
    folders.extend(crates.map(|package| package.unwrap().path().join("src")));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs")
                // This file only declares them.
                && !path.ends_with("config/reference/elsewhere.rs")
            {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// The names of variables that the source reads, found by the code before them.
fn read_in(source: &str) -> BTreeSet<String> {
    let marks =
        ["var(\"", "var_os(\"", "is_set(\"", " env = \"", "_SETTING: &str = \"", "given.get(\""];
    let mut names = BTreeSet::new();
    for mark in marks {
        for rest in source.split(mark).skip(1) {
            names.extend(rest.split('"').next().map(str::to_owned));
        }
    }
    names
}

#[test]
fn the_page_lists_exactly_what_is_read() {
    let declared = |groups: &[&Group]| -> BTreeSet<String> {
        groups
            .iter()
            .flat_map(|group| group.settings)
            .map(|setting| setting.name().to_owned())
            .collect()
    };
    let mut read: BTreeSet<String> =
        sources().iter().flat_map(|(_, source)| read_in(source)).collect();
    for name in NO_SETTINGS {
        assert!(read.remove(name), "{name} is no longer read");
    }
    let handlers = declared(GROUPS);
    read.retain(|name| !handlers.contains(name));
    // Names with a placeholder stand for many; a test below checks them.
    let on_the_page: BTreeSet<String> =
        declared(ELSEWHERE).into_iter().filter(|name| !name.contains('<')).collect();
    assert_eq!(read, on_the_page);
}

/// Required for the search through the source to find every variable.
#[test]
fn variables_are_read_by_literal_names() {
    for (path, source) in sources() {
        for rest in source.split("env::var").skip(1) {
            let call: String = rest.chars().take_while(|c| *c != ')').collect();
            let is_seen = call.starts_with("(\"")
                || call.starts_with("_os(\"")
                || call.ends_with("_SETTING")
                // `is_set("…")`, which the search finds.
                || call == "_os(name";
            let is_whole = call.starts_with("s_os(")
                && (path.ends_with("config/env.rs") || path.ends_with("commands/doctor.rs"));
            // The variables of `scripts/test`.
            let is_service = call == "(name" && path.ends_with("lastlight-testing/src/database.rs");
            assert!(is_seen || is_whole || is_service, "{}: env::var{call})", path.display());
        }
    }
}

#[test]
fn names_with_placeholders_work_as_described() {
    let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let overlaid = host_json::overlaid(
        json!({}),
        &pair(&format!("{JOB_HOST}extensions__queues__batchSize"), "8"),
    );
    assert_eq!(overlaid["extensions"]["queues"]["batchSize"], 8);
    let of_zone = [("LASTLIGHT_STORAGE_BRONZE", "https://geo.blob.core.windows.net")];
    let blobs = BlobSettings::from_env(&mut Env::from_pairs(of_zone));
    assert!(blobs.account(Some("bronze")).is_ok() && blobs.account(Some("silver")).is_err());
    for name in ["AzureWebJobs.reconcile.Disabled", "AzureWebJobs__reconcile__Disabled"] {
        for (value, is_off) in [("true", true), ("1", true), ("false", false), ("yes", false)] {
            assert_eq!(
                host_json::is_switched_off(&pair(name, value), "reconcile"),
                is_off,
                "{value}"
            );
        }
    }
}

/// The driver reads the environment of the process, so the test runs itself in a new process for
/// each variable.
#[test]
fn the_driver_reads_its_own_variables() {
    const MARK: &str = "the driver's options: ";
    const ASKED: &str = "LASTLIGHT_TEST_SHOWS_OPTIONS";
    if std::env::var_os(ASKED).is_some() {
        let env = Env::from_pairs([("DATABASE_URL", "postgresql:///")]);
        println!("{MARK}{:?}", Settings::load_database(env).unwrap().0.connect);
        return;
    }
    let options = |more: Option<(&str, &str)>| {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again
            .args(["--exact", "--nocapture"])
            .arg("config::reference::elsewhere::the_driver_reads_its_own_variables");
        for (name, _) in DRIVER {
            again.env_remove(name);
        }
        let output = again.env(ASKED, "1").envs(more).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, shown) = text
            .split_once(MARK)
            .unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        shown.lines().next().unwrap().to_owned()
    };
    let without = options(None);
    assert_eq!(without, options(None));
    for (name, value) in DRIVER {
        assert_ne!(options(Some((name, value))), without, "{name} is not read");
    }
}
