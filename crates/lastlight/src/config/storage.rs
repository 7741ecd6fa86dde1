//! Settings of Storage Queues.
//!
//! `AzureWebJobsStorage` is a connection string; `AzureWebJobsStorage__queueServiceUri` or
//! `…__accountName` mean sign-in by identity, as they do to the Functions host. So does
//! `STORAGE_ACCOUNT_NAME` without any of them, to this handler alone: the host does not read it.

use url::Url;

use super::{
    Env, Secret, connection_string, endpoint, env::shown, reference as setting,
    values::QueueEncoding,
};

/// The account and key that Azurite, and lastlight's local cloud, know; public by design.
pub const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
/// See [`DEVELOPMENT_ACCOUNT`].
pub const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// How to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageAuth {
    /// The account's key, base64.
    SharedKey {
        /// The account's name.
        account: String,
        /// The key.
        key: Secret,
    },
    /// A shared access signature, made elsewhere: the query string without its `?`.
    SharedAccessSignature(Secret),
    /// Entra ID.
    Entra,
}

/// Where Storage Queues are and how to send to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// The queue service: `https://<account>.queue.core.windows.net/`, or
    /// `http://127.0.0.1:<port>/<account>/`.
    pub endpoint: Url,
    /// How to sign in.
    pub auth: StorageAuth,
    /// The queue of job messages.
    pub job_queue: String,
    /// The queue of task messages.
    pub task_queue: String,
    /// The queue of messages that could not be understood.
    pub poison_queue: String,
    /// How texts are wrapped.
    pub encoding: QueueEncoding,
    /// Messages under way at once: a Storage Queue knows no batches.
    pub sends_in_flight: usize,
    /// Tries after the first one.
    pub retry_count: u32,
}

const REMEDY: &str = "Write it as DefaultEndpointsProtocol=https;AccountName=<name>;AccountKey=<key>;\
                      EndpointSuffix=core.windows.net (Azure portal: storage account, Access keys), or as \
                      UseDevelopmentStorage=true for Azurite.";

impl StorageSettings {
    /// The settings; `None` where no connection is configured, or what there is cannot be used
    /// (noted in `env`).
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let (endpoint, auth) = connection(env)?;
        Some(Self {
            job_queue: env.text(&setting::JOB_PROCESSING_QUEUE),
            task_queue: env.text(&setting::TASK_PROCESSING_QUEUE),
            poison_queue: env.text(&setting::POISON_QUEUE),
            encoding: env.choice(&setting::STORAGE_QUEUE_ENCODING),
            sends_in_flight: env.number(&setting::STORAGE_QUEUE_SENDS_IN_FLIGHT),
            retry_count: env.number(&setting::STORAGE_QUEUE_RETRY_COUNT),
            endpoint,
            auth,
        })
    }
}

fn connection(env: &mut Env) -> Option<(Url, StorageAuth)> {
    if let Some(text) = env.get(&setting::STORAGE) {
        return match connection_string::parse(text).and_then(|parts| by_connection_string(&parts)) {
            Ok(connection) => Some(connection),
            Err(problem) => {
                env.problem(setting::STORAGE.name, problem, REMEDY);
                None
            }
        };
    }
    let by_uri = env.get(&setting::STORAGE_QUEUE_SERVICE_URI).map(str::to_owned);
    let (given, address) = match by_uri {
        Some(uri) => (&setting::STORAGE_QUEUE_SERVICE_URI, Ok(uri)),
        None => {
            let given = [&setting::STORAGE_ACCOUNT, &setting::STORAGE_ACCOUNT_NAME]
                .into_iter()
                .find(|given| env.is_set(*given))?;
            let address = account_name(env.get(given)?)
                .map(|account| format!("https://{account}.queue.core.windows.net"));
            (given, address)
        }
    };
    match address.and_then(|address| endpoint::checked("the address", &address)) {
        Ok(endpoint) => Some((endpoint, StorageAuth::Entra)),
        Err(problem) => {
            let remedy = "Set it to the storage account's name, or to https://<account>.queue.core.windows.net.";
            env.problem(given.name, problem, remedy);
            None
        }
    }
}

fn by_connection_string(
    parts: &std::collections::BTreeMap<String, String>,
) -> Result<(Url, StorageAuth), String> {
    if connection_string::is_true(parts, "usedevelopmentstorage") {
        let endpoint = endpoint::checked(
            "the address",
            &format!("http://127.0.0.1:10001/{DEVELOPMENT_ACCOUNT}"),
        )?;
        let key = Secret::new(DEVELOPMENT_KEY);
        return Ok((
            endpoint,
            StorageAuth::SharedKey { account: DEVELOPMENT_ACCOUNT.to_owned(), key },
        ));
    }
    let part = |key: &str| parts.get(key).filter(|value| !value.is_empty());
    let account = part("accountname");
    let endpoint = match (part("queueendpoint"), account) {
        (Some(endpoint), _) => endpoint::checked("QueueEndpoint", endpoint)?,
        (None, Some(account)) => {
            let protocol = part("defaultendpointsprotocol").map_or("https", String::as_str);
            let suffix = part("endpointsuffix").map_or("core.windows.net", String::as_str);
            let account = account_name(account)?;
            let address = format!("{protocol}://{account}.queue.{suffix}");
            endpoint::checked(
                "DefaultEndpointsProtocol, AccountName and EndpointSuffix:",
                &address,
            )?
        }
        (None, None) => return Err("lacks AccountName or QueueEndpoint".to_owned()),
    };
    let auth = match (part("sharedaccesssignature"), account, part("accountkey")) {
        (Some(signature), _, _) => {
            StorageAuth::SharedAccessSignature(Secret::new(signature.trim_start_matches('?')))
        }
        (None, Some(account), Some(key)) => {
            use base64::Engine;
            if base64::prelude::BASE64_STANDARD.decode(key).is_err() {
                return Err("AccountKey is not base64".to_owned());
            }
            StorageAuth::SharedKey { account: account.clone(), key: Secret::new(key) }
        }
        (None, None, Some(_)) => return Err("lacks AccountName".to_owned()),
        _ => return Err("lacks AccountKey or SharedAccessSignature".to_owned()),
    };
    Ok((endpoint, auth))
}

/// A storage account's name, which becomes part of a host.
fn account_name(name: &str) -> Result<&str, String> {
    if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        Ok(name)
    } else {
        Err(format!("{} is not the name of a storage account: a-z and 0-9", shown(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: &str = "AzureWebJobsStorage";

    fn settings(pairs: &[(&str, &str)]) -> (Option<StorageSettings>, String) {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let settings = StorageSettings::from_env(&mut env);
        (settings, env.finish().err().map(|error| error.to_string()).unwrap_or_default())
    }

    #[test]
    fn development_storage_is_azurite() {
        let (settings, _) = settings(&[(SETTING, "UseDevelopmentStorage=true")]);
        assert_eq!(settings.unwrap().endpoint.as_str(), "http://127.0.0.1:10001/devstoreaccount1/");
    }

    #[test]
    fn an_account_and_its_key_give_the_account_s_address() {
        let text = "DefaultEndpointsProtocol=https;AccountName=geo;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net";
        let (settings, _) = settings(&[(SETTING, text)]);
        let settings = settings.unwrap();
        assert_eq!(settings.endpoint.as_str(), "https://geo.queue.core.windows.net/");
        assert!(!format!("{settings:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for remote in [
            "DefaultEndpointsProtocol=http;AccountName=geo;AccountKey=c2VjcmV0",
            "AccountName=geo;AccountKey=c2VjcmV0;QueueEndpoint=http://azurite:10001/geo",
            "SharedAccessSignature=sv=1&sig=x;QueueEndpoint=http://geo.queue.core.windows.net",
        ] {
            let (none, problems) = settings(&[(SETTING, remote)]);
            assert!(none.is_none());
            assert!(problems.contains("plain HTTP is for this machine alone"), "{problems}");
        }
        let (none, problems) =
            settings(&[("AzureWebJobsStorage__queueServiceUri", "http://geo.example")]);
        assert!(
            none.is_none() && problems.contains("AzureWebJobsStorage__queueServiceUri"),
            "{problems}"
        );
    }

    #[test]
    fn an_account_name_alone_means_identity() {
        let (settings, _) = settings(&[("STORAGE_ACCOUNT_NAME", "geo")]);
        assert_eq!(settings.unwrap().auth, StorageAuth::Entra);
    }

    #[test]
    fn what_is_wrong_is_named_without_the_key() {
        let (none, problems) = settings(&[(SETTING, "AccountName=geo;AccountKey=not base64!")]);
        assert!(none.is_none());
        assert!(problems.contains("AccountKey is not base64"), "{problems}");
        assert!(!problems.contains("not base64!"), "{problems}");
        for text in [
            "AccountName=geo;AccountKey=c2VjcmV0;QueueEndpoint=https://geo.example/?sig=topsecret",
            "AccountName=https://u:topsecret@geo;AccountKey=c2VjcmV0",
            "QueueEndpoint=topsecret;SharedAccessSignature=sig=topsecret;topsecret",
        ] {
            let (none, problems) = settings(&[(SETTING, text)]);
            assert!(none.is_none() && !problems.is_empty(), "{text}");
            assert!(!problems.contains("topsecret"), "{problems}");
        }
        let (none, problems) =
            settings(&[("STORAGE_ACCOUNT_NAME", "AccountName=geo;AccountKey=topsecret")]);
        assert!(none.is_none() && !problems.contains("topsecret"), "{problems}");
        let (_, problems) =
            settings(&[(SETTING, "UseDevelopmentStorage=true"), ("JOB_PROCESSING_QUEUE", "Jobs_")]);
        assert!(problems.contains("JOB_PROCESSING_QUEUE: \"Jobs_\""), "{problems}");
    }
}
