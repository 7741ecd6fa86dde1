//! Schema administration over HTTP, and the settings that the Functions host or the local cloud
//! sets for its process.

use super::{Group, anything};
use crate::config::declaration::{Flag, Given, Number, Text};

pub(super) static ADMINISTRATION: Group =
    Group { title: "Administration", about: "", settings: &[&ENABLE_SCHEMA_ADMIN] };

pub(super) static SET_BY_THE_HOST: Group = Group {
    title: "Set by the Functions host",
    about: "These are not set by hand.",
    settings: &[
        &CUSTOMHANDLER_PORT,
        &HTTPWORKER_PORT,
        &AZURE_FUNCTIONS_ENVIRONMENT,
        &APP_ROOT_PATH,
        &WORKFLOWS,
        &FUNCTION_TIMEOUT,
        &WEBSITE_HOSTNAME,
        &EXIT_WITH_PARENT,
    ],
};

pub(in crate::config) static ENABLE_SCHEMA_ADMIN: Flag = Flag {
    name: "ENABLE_SCHEMA_ADMIN",
    default: Some(false),
    meaning: "Whether the schema may be dropped over HTTP: `POST /api/db/schema/nuke` and `…/redeploy`.",
};

pub(in crate::config) static CUSTOMHANDLER_PORT: Number<u16> = Number {
    name: "FUNCTIONS_CUSTOMHANDLER_PORT",
    // Out of bounds, so there is no default: without a host there is no port to listen on.
    default: 0,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "The port on which `lastlight serve` listens, on the loopback interface. Required by it.",
};

pub(in crate::config) static HTTPWORKER_PORT: Number<u16> = Number {
    name: "FUNCTIONS_HTTPWORKER_PORT",
    default: 0,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "The older name of `FUNCTIONS_CUSTOMHANDLER_PORT`, read if that is not set.",
};

pub(in crate::config) static AZURE_FUNCTIONS_ENVIRONMENT: Text = Text {
    name: "AZURE_FUNCTIONS_ENVIRONMENT",
    default: "Production",
    what: "a name",
    allowed: "any text",
    is_allowed: anything,
    meaning: "The name of the environment, returned by `health`.",
};

pub(in crate::config) static APP_ROOT_PATH: Given = Given {
    name: "FUNCTIONS_APP_ROOT_PATH",
    allowed: "a folder",
    is_secret: false,
    meaning: "The app's folder. `functionTimeout` in its host.json limits how long an invocation stays open; without it, \
              `FUNCTION_TIMEOUT_MINUTES` does. At start, the handler warns if the function folders do not match its version.",
};

pub(in crate::config) static WORKFLOWS: Given = Given {
    name: "LASTLIGHT_WORKFLOWS",
    allowed: "a folder",
    is_secret: false,
    meaning: "The folder of the workflow files, by default `workflows` beside host.json. Each file is a job type.",
};

pub(in crate::config) static FUNCTION_TIMEOUT: Given = Given {
    name: "AzureFunctionsJobHost__functionTimeout",
    allowed: "`hh:mm:ss`, or `-1` for no limit",
    is_secret: false,
    meaning: "Overrides `functionTimeout` in host.json, for the host and for this process.",
};

pub(in crate::config) static WEBSITE_HOSTNAME: Given = Given {
    name: "WEBSITE_HOSTNAME",
    allowed: "a host, with or without a port",
    is_secret: false,
    meaning: "The host at which the app answers, set by Azure. Notifications name the address of the job's status there.",
};

pub(in crate::config) static EXIT_WITH_PARENT: Flag = Flag {
    name: "LASTLIGHT_EXIT_WITH_PARENT",
    default: Some(false),
    meaning: "Whether the process exits when standard input ends. The local cloud sets it, so that no handler outlives it.",
};
