//! Settings of Service Bus.
//!
//! Precedence: a connection string with `UseDevelopmentEmulator=true`, which means this machine;
//! then `ServiceBusConnection__fullyQualifiedNamespace`, the Functions host's setting for sign-in
//! by identity; then any other connection string (`SERVICE_BUS_CONNECTION_STRING`, or the host's
//! `ServiceBusConnection`); then `SERVICE_BUS_NAMESPACE`, with sign-in by identity.

use std::time::Duration;

use url::Url;

use super::{
    Env, Secret, connection_string, declaration::Given, endpoint, env::shown, reference as setting,
};

/// The credentials for Service Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceBusAuth {
    /// A shared access key, from a connection string.
    SharedAccessKey {
        /// The policy's name.
        name: String,
        /// The policy's key.
        key: Secret,
    },
    /// Entra ID: the managed or workload identity if there is one, otherwise the developer's
    /// sign-in.
    Entra,
}

/// The connection to Service Bus, and the limits of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceBusSettings {
    /// `https://<namespace>/`, or `http://127.0.0.1:<port>/` for the emulator.
    pub endpoint: Url,
    /// The credentials.
    pub auth: ServiceBusAuth,
    /// The queue for job messages.
    pub job_queue: String,
    /// The queue for task messages.
    pub task_queue: String,
    /// The review queue, for messages that could not be processed.
    pub poison_queue: String,
    /// Maximum number of messages in a batch, 1 to 100.
    pub max_batch_size: usize,
    /// Number of retries of a failed send.
    pub retry_count: u32,
    /// Maximum number of batches being sent at once.
    pub sends_in_flight: usize,
    /// Maximum number of messages per second over all senders of this process: set it for the
    /// Standard tier, which grants a namespace 1,000 credits per second.
    pub credits_per_second: Option<u32>,
    /// Timeout of one request.
    pub request_timeout: Duration,
}

const REMEDY: &str = "Write it as Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=<name>;\
                      SharedAccessKey=<key> (Azure portal: Service Bus namespace, Shared access policies).";

impl ServiceBusSettings {
    /// Reads the settings; `None` if no connection is configured or if it is invalid (recorded in
    /// `env`).
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (endpoint, auth) = connection(env)?;
        let credits = env.number(&setting::SERVICE_BUS_CREDITS_PER_SECOND);
        Some(Self {
            job_queue: env.text(&setting::SERVICE_BUS_JOB_QUEUE),
            task_queue: env.text(&setting::SERVICE_BUS_TASK_QUEUE),
            poison_queue: env.text(&setting::SERVICE_BUS_POISON_QUEUE),
            max_batch_size: env.number(&setting::SERVICE_BUS_MAX_BATCH_SIZE),
            retry_count: env.number(&setting::SERVICE_BUS_RETRY_COUNT),
            sends_in_flight: env.number(&setting::SERVICE_BUS_SENDS_IN_FLIGHT),
            credits_per_second: (credits > 0).then_some(credits),
            request_timeout: Duration::from_secs(env.number(&setting::SERVICE_BUS_TIMEOUT_SECONDS)),
            endpoint,
            auth,
        })
    }
}

fn connection(env: &mut Env) -> Option<(Url, ServiceBusAuth)> {
    let given = if env.is_set(&setting::SERVICE_BUS_CONNECTION_STRING) {
        &setting::SERVICE_BUS_CONNECTION_STRING
    } else {
        &setting::SERVICE_BUS_CONNECTION
    };
    let parsed = env.get(given).map(connection_string::parse);
    let is_local = matches!(&parsed, Some(Ok(parts)) if connection_string::is_true(parts, "usedevelopmentemulator"));
    if !is_local && env.is_set(&setting::SERVICE_BUS_CONNECTION_NAMESPACE) {
        return by_identity(env, &setting::SERVICE_BUS_CONNECTION_NAMESPACE);
    }
    match parsed {
        Some(Ok(parts)) => match by_key(&parts, is_local) {
            Ok(connection) => Some(connection),
            Err(problem) => {
                env.problem(given.name, problem, REMEDY);
                None
            }
        },
        Some(Err(problem)) => {
            env.problem(given.name, problem, REMEDY);
            None
        }
        None => by_identity(env, &setting::SERVICE_BUS_NAMESPACE),
    }
}

fn by_identity(env: &mut Env, given: &Given) -> Option<(Url, ServiceBusAuth)> {
    let namespace = env.get(given)?.to_owned();
    let host = if namespace.contains('.') {
        namespace.trim_end_matches('/').to_owned()
    } else {
        format!("{namespace}.servicebus.windows.net")
    };
    let is_host = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    match Url::parse(&format!("https://{host}/")) {
        Ok(endpoint) if is_host => Some((endpoint, ServiceBusAuth::Entra)),
        _ => {
            env.problem(
                given.name,
                format!("{} is not a Service Bus namespace", shown(&namespace)),
                "Set it to the namespace's name or host name: rmhgeoapi or rmhgeoapi.servicebus.windows.net.",
            );
            None
        }
    }
}

fn by_key(
    parts: &std::collections::BTreeMap<String, String>,
    is_local: bool,
) -> Result<(Url, ServiceBusAuth), String> {
    let part = |key: &str, name: &str| {
        parts.get(key).filter(|value| !value.is_empty()).ok_or_else(|| format!("lacks {name}"))
    };
    let endpoint = part("endpoint", "Endpoint")?;
    let authority = ["sb://", "https://", "amqps://", "http://"]
        .iter()
        .find_map(|scheme| endpoint.strip_prefix(scheme))
        .ok_or_else(|| format!("Endpoint {} does not start with sb://", shown(endpoint)))?;
    let scheme = if is_local { "http" } else { "https" };
    let endpoint =
        endpoint::checked("Endpoint", &format!("{scheme}://{}", authority.trim_end_matches('/')))
            .map_err(|problem| {
            if is_local {
                format!("{problem} (UseDevelopmentEmulator=true means plain HTTP)")
            } else {
                problem
            }
        })?;
    let auth = ServiceBusAuth::SharedAccessKey {
        name: part("sharedaccesskeyname", "SharedAccessKeyName")?.clone(),
        key: Secret::new(part("sharedaccesskey", "SharedAccessKey")?),
    };
    Ok((endpoint, auth))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION_STRING: &str = "SERVICE_BUS_CONNECTION_STRING";

    fn settings(pairs: &[(&str, &str)]) -> (Option<ServiceBusSettings>, String) {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let settings = ServiceBusSettings::from_env(&mut env);
        (settings, env.finish().err().map(|error| error.to_string()).unwrap_or_default())
    }

    const REAL: &str = "Endpoint=sb://rmhgeoapi.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=a+b/c=";

    #[test]
    fn the_key_of_a_connection_string_is_not_shown() {
        let (settings, problems) =
            settings(&[(CONNECTION_STRING, REAL), ("SERVICE_BUS_NAMESPACE", "rmhgeoapi")]);
        let settings = settings.unwrap();
        assert_eq!(problems, "");
        assert_eq!(settings.endpoint.as_str(), "https://rmhgeoapi.servicebus.windows.net/");
        let ServiceBusAuth::SharedAccessKey { key, .. } = &settings.auth else {
            panic!("not by key")
        };
        assert_eq!(key.expose(), "a+b/c=");
        assert!(!format!("{settings:?}").contains("a+b/c"));
    }

    #[test]
    fn identity_is_second_only_to_the_emulator() {
        let identity =
            ("ServiceBusConnection__fullyQualifiedNamespace", "x.servicebus.usgovcloudapi.net");
        let (remote, _) = settings(&[(CONNECTION_STRING, REAL), identity]);
        assert_eq!(remote.unwrap().auth, ServiceBusAuth::Entra);
        let local = "Endpoint=sb://127.0.0.1:5300;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true";
        let (local, _) = settings(&[(CONNECTION_STRING, local), identity]);
        assert_eq!(local.unwrap().endpoint.as_str(), "http://127.0.0.1:5300/");
    }

    #[test]
    fn the_emulator_must_be_on_this_machine() {
        let remote = "Endpoint=sb://rmh.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k;\
                      UseDevelopmentEmulator=true";
        let (none, problems) = settings(&[(CONNECTION_STRING, remote)]);
        assert!(none.is_none());
        assert!(
            problems.contains("plain HTTP is allowed only to this machine")
                && problems.contains("UseDevelopmentEmulator"),
            "{problems}"
        );
    }

    #[test]
    fn problems_do_not_contain_the_key() {
        for text in [
            "Endpoint=topsecret1Topsecret2;SharedAccessKeyName=n;SharedAccessKey=topsecret",
            "Endpoint=sb://n:topsecret@a.b/;SharedAccessKeyName=n;SharedAccessKey=topsecret",
            "Endpoint=sb://a.b/?sig=topsecret;SharedAccessKeyName=n;SharedAccessKey=topsecret",
        ] {
            let (none, problems) = settings(&[(CONNECTION_STRING, text)]);
            assert!(none.is_none() && !problems.is_empty(), "{text}");
            assert!(!problems.contains("topsecret"), "{problems}");
        }
        let in_the_wrong_place =
            "Endpoint=sb://a.b/;SharedAccessKeyName=n;SharedAccessKey=topsecret";
        let (none, problems) = settings(&[("SERVICE_BUS_NAMESPACE", in_the_wrong_place)]);
        assert!(none.is_none() && !problems.contains("topsecret"), "{problems}");
        let (none, problems) =
            settings(&[(CONNECTION_STRING, "Endpoint=sb://a.b;SharedAccessKey=topsecret")]);
        assert!(none.is_none());
        assert!(problems.contains("lacks SharedAccessKeyName"), "{problems}");
        assert!(!problems.contains("topsecret"));
        let (_, problems) =
            settings(&[("SERVICE_BUS_NAMESPACE", "rmh"), ("SERVICE_BUS_MAX_BATCH_SIZE", "500")]);
        assert!(problems.contains("\"500\" is not a number from 1 to 100"), "{problems}");
    }
}
