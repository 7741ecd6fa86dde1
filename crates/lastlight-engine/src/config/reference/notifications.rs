//! Notifications of the ends of jobs and of gates that wait.

use super::Group;
use crate::config::declaration::Given;

pub(super) static GROUP: Group = Group {
    title: "Notifications",
    about: "Other programs are told over HTTP that a job has ended or that a gate waits \
            ([howto/notifications.md](howto/notifications.md)).",
    settings: &[&NOTIFY_URLS, &NOTIFY_ALLOWED_HOSTS, &NOTIFY_SECRET, &NOTIFY_EVENT_GRID_KEY],
};

pub(in crate::config) static NOTIFY_URLS: Given = Given {
    name: "NOTIFY_URLS",
    allowed: "addresses, separated by commas: `https://hooks.example.org/jobs`, or `label.team=roads https://…` for the jobs \
              with this label; at most 50",
    // Addresses of webhooks often have a key in them.
    is_secret: true,
    meaning: "The addresses that are told of every job, or of those with a label.",
};

pub(in crate::config) static NOTIFY_ALLOWED_HOSTS: Given = Given {
    name: "NOTIFY_ALLOWED_HOSTS",
    allowed: "hosts, separated by commas: `hooks.example.org`, `*.example.org` for all names below it, `10.1.2.3:8080`; without \
              a port, the usual one",
    is_secret: false,
    meaning: "The hosts of the addresses that a job may name itself (`notify`). Plain HTTP and addresses that are not public are \
              refused, in `NOTIFY_URLS` too, unless their host is named here without a wildcard. If not set, jobs name no \
              addresses.",
};

pub(in crate::config) static NOTIFY_SECRET: Given = Given {
    name: "NOTIFY_SECRET",
    allowed: "`whsec_` and the base64 of 24 to 64 bytes; several, separated by commas, while receivers change from one to another",
    is_secret: true,
    meaning: "The secret with which notifications are signed (HMAC-SHA256, as Standard Webhooks says). If not set, they are \
              not signed.",
};

pub(in crate::config) static NOTIFY_EVENT_GRID_KEY: Given = Given {
    name: "NOTIFY_EVENT_GRID_KEY",
    allowed: "an access key of a topic",
    is_secret: true,
    meaning: "The header `aeg-sas-key` for topics of Azure Event Grid in `NOTIFY_URLS` (hosts `*.eventgrid.azure.net`); \
              no other host receives it.",
};
