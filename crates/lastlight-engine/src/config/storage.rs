//! Settings of Storage Queues.
//!
//! `AzureWebJobsStorage` is a connection string; `AzureWebJobsStorage__queueServiceUri` and
//! `…__accountName` mean sign-in by identity, as for the Functions host. If none of them is set,
//! `STORAGE_ACCOUNT_NAME` means sign-in by identity for this handler only: the host does not read
//! it.

use url::Url;

use super::{
    Env, StorageAuth, connection_string, endpoint, reference as setting,
    storage_account::{self, Service},
    values::QueueEncoding,
};

/// The connection to Storage Queues, and the limits of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// The queue service: `https://<account>.queue.core.windows.net/`, or
    /// `http://127.0.0.1:<port>/<account>/`.
    pub endpoint: Url,
    /// The credentials.
    pub auth: StorageAuth,
    /// The queue for job messages.
    pub job_queue: String,
    /// The queue for task messages.
    pub task_queue: String,
    /// The review queue, for messages that could not be processed.
    pub poison_queue: String,
    /// The encoding of message texts.
    pub encoding: QueueEncoding,
    /// Maximum number of messages being sent at once: Storage Queues have no batches.
    pub sends_in_flight: usize,
    /// Number of retries of a failed send.
    pub retry_count: u32,
}

const REMEDY: &str = "Write it as DefaultEndpointsProtocol=https;AccountName=<name>;AccountKey=<key>;\
                      EndpointSuffix=core.windows.net (Azure portal: storage account, Access keys), or as \
                      UseDevelopmentStorage=true for Azurite.";

impl StorageSettings {
    /// Reads the settings; `None` if no connection is configured or if it is invalid (recorded in
    /// `env`).
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
        return match connection_string::parse(text)
            .and_then(|parts| storage_account::by_connection_string(&parts, Service::Queue))
        {
            Ok(connection) => Some(connection),
            Err(problem) => {
                env.problem(setting::STORAGE.name, problem, REMEDY);
                None
            }
        };
    }
    let by_uri = env.get(&setting::STORAGE_QUEUE_SERVICE_URI).map(str::to_owned);
    let (given, endpoint) = match by_uri {
        Some(uri) => (&setting::STORAGE_QUEUE_SERVICE_URI, endpoint::checked("the address", &uri)),
        None => {
            let given = [&setting::STORAGE_ACCOUNT, &setting::STORAGE_ACCOUNT_NAME]
                .into_iter()
                .find(|given| env.is_set(*given))?;
            (given, storage_account::by_account_name(env.get(given)?, Service::Queue))
        }
    };
    match endpoint {
        Ok(endpoint) => Some((endpoint, StorageAuth::Entra)),
        Err(problem) => {
            let remedy = "Set it to the storage account's name, or to https://<account>.queue.core.windows.net.";
            env.problem(given.name, problem, remedy);
            None
        }
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
    fn account_and_key_give_the_address() {
        let text = "DefaultEndpointsProtocol=https;AccountName=geo;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net";
        let (settings, _) = settings(&[(SETTING, text)]);
        let settings = settings.unwrap();
        assert_eq!(settings.endpoint.as_str(), "https://geo.queue.core.windows.net/");
        assert!(!format!("{settings:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn plain_http_is_allowed_only_to_this_machine() {
        for remote in [
            "DefaultEndpointsProtocol=http;AccountName=geo;AccountKey=c2VjcmV0",
            "AccountName=geo;AccountKey=c2VjcmV0;QueueEndpoint=http://azurite:10001/geo",
            "SharedAccessSignature=sv=1&sig=x;QueueEndpoint=http://geo.queue.core.windows.net",
        ] {
            let (none, problems) = settings(&[(SETTING, remote)]);
            assert!(none.is_none());
            assert!(problems.contains("plain HTTP is allowed only to this machine"), "{problems}");
        }
        let (none, problems) =
            settings(&[("AzureWebJobsStorage__queueServiceUri", "http://geo.example")]);
        assert!(
            none.is_none() && problems.contains("AzureWebJobsStorage__queueServiceUri"),
            "{problems}"
        );
    }

    #[test]
    fn an_account_name_means_sign_in_by_identity() {
        let (settings, _) = settings(&[("STORAGE_ACCOUNT_NAME", "geo")]);
        assert_eq!(settings.unwrap().auth, StorageAuth::Entra);
    }

    #[test]
    fn problems_do_not_contain_the_key() {
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
