//! The storage accounts whose blobs a submission may name: the app's own, and one for each zone.
//!
//! The app's own account is that of Storage Queues. `LASTLIGHT_STORAGE_<ZONE>` names the account of
//! a zone; a zone without a setting is in the app's own account.

use std::{collections::BTreeMap, fmt, sync::Arc};

use url::Url;

use super::{
    Env, StorageAuth, connection_string, endpoint, reference as setting,
    storage_account::{self, Service},
    unresolved::unresolved,
};

/// What the names of the settings of zones begin with.
const ZONE_PREFIX: &str = "LASTLIGHT_STORAGE_";

const ZONE_REMEDY: &str = "Set it to a connection string of the account (Azure portal: storage account, Access keys), or to \
                           https://<account>.blob.core.windows.net for sign-in by identity.";

/// The blob service of a storage account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobAccount {
    /// `https://<account>.blob.core.windows.net/`, or `http://127.0.0.1:<port>/<account>/`.
    pub endpoint: Url,
    /// The credentials.
    pub auth: StorageAuth,
}

/// The storage accounts, and the app's settings that are numbers.
#[derive(Debug, Clone)]
pub struct BlobSettings {
    /// The app's own account, or why it is not known. Most apps need none.
    app: Result<BlobAccount, String>,
    /// By the end of the setting's name.
    zones: BTreeMap<String, BlobAccount>,
    /// The settings that a validator may name in place of a number.
    pub numbers: NumberSettings,
}

impl Default for BlobSettings {
    /// No account.
    fn default() -> Self {
        Self {
            app: Err("no storage account is set".to_owned()),
            zones: BTreeMap::new(),
            numbers: NumberSettings::default(),
        }
    }
}

impl BlobSettings {
    /// Reads the settings; problems are recorded in `env`. An app whose own account has no blob
    /// service is no problem.
    pub fn from_env(env: &mut Env) -> Self {
        Self { app: of_app(env), zones: of_zones(env), numbers: NumberSettings::from_env(env) }
    }

    /// The account of a zone; that of the app if there is no zone or the zone has no setting.
    ///
    /// # Errors
    /// The app's account is needed and has no blob service that is known, for the reason given.
    pub fn account(&self, zone: Option<&str>) -> Result<&BlobAccount, String> {
        let end = zone.map(end_of_name);
        match (end.as_ref().and_then(|end| self.zones.get(end)), &self.app, end.as_ref()) {
            (Some(account), _, _) | (None, Ok(account), _) => Ok(account),
            (None, Err(reason), None) => Err(reason.clone()),
            (None, Err(reason), Some(end)) => {
                Err(format!("{ZONE_PREFIX}{end} is not set, and {reason}"))
            }
        }
    }
}

/// `bronze-eu` becomes `BRONZE_EU`: names of settings have no other characters.
fn end_of_name(zone: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    zone.chars().map(upper).collect()
}

fn of_app(env: &mut Env) -> Result<BlobAccount, String> {
    let named = |given: &str, problem: String| format!("{given}: {problem}");
    if let Some(text) = env.get(&setting::STORAGE) {
        // What is wrong with the whole has been recorded by the queues' reader.
        let parts = connection_string::parse(text)
            .map_err(|problem| named(setting::STORAGE.name, problem))?;
        let is_given = parts.contains_key(&Service::Blob.endpoint_key().to_ascii_lowercase());
        return match storage_account::by_connection_string(&parts, Service::Blob) {
            Ok((endpoint, auth)) => Ok(BlobAccount { endpoint, auth }),
            Err(problem) => {
                if is_given && problem.starts_with(Service::Blob.endpoint_key()) {
                    let remedy = "Correct its BlobEndpoint, or leave it out.";
                    env.problem(setting::STORAGE.name, problem.clone(), remedy);
                }
                Err(named(setting::STORAGE.name, problem))
            }
        };
    }
    if let Some(uri) = env.get(&setting::STORAGE_BLOB_SERVICE_URI).map(str::to_owned) {
        return match endpoint::checked("the address", &uri) {
            Ok(endpoint) => Ok(BlobAccount { endpoint, auth: StorageAuth::Entra }),
            Err(problem) => {
                let remedy = "Set it to https://<account>.blob.core.windows.net.";
                env.problem(setting::STORAGE_BLOB_SERVICE_URI.name, problem.clone(), remedy);
                Err(named(setting::STORAGE_BLOB_SERVICE_URI.name, problem))
            }
        };
    }
    let (given, endpoint) = if let Some(uri) = env.get(&setting::STORAGE_QUEUE_SERVICE_URI) {
        let queues = endpoint::checked("the address", uri);
        let blobs = queues.and_then(|queues| Service::Blob.beside(Service::Queue, &queues));
        (setting::STORAGE_QUEUE_SERVICE_URI.name, blobs)
    } else {
        let given = [&setting::STORAGE_ACCOUNT, &setting::STORAGE_ACCOUNT_NAME]
            .into_iter()
            .find_map(|given| Some((given.name, env.get(given)?)));
        let Some((given, name)) = given else {
            return Err(format!("{} is not set", setting::STORAGE.name));
        };
        (given, storage_account::by_account_name(name, Service::Blob))
    };
    match endpoint {
        Ok(endpoint) => Ok(BlobAccount { endpoint, auth: StorageAuth::Entra }),
        Err(problem) => Err(format!(
            "{}: set {}",
            named(given, problem),
            setting::STORAGE_BLOB_SERVICE_URI.name
        )),
    }
}

fn of_zones(env: &mut Env) -> BTreeMap<String, BlobAccount> {
    let mut zones = BTreeMap::new();
    for (name, value) in env.beginning_with(ZONE_PREFIX) {
        let account = match unresolved(&value) {
            Some((problem, remedy)) => Err((problem, remedy)),
            None => of_zone(&value).map_err(|problem| (problem, ZONE_REMEDY)),
        };
        match account {
            Ok(account) => {
                zones.insert(name[ZONE_PREFIX.len()..].to_owned(), account);
            }
            Err((problem, remedy)) => env.problem(&name, problem, remedy),
        }
    }
    zones
}

/// An account from a connection string, or from the address of its blob service.
fn of_zone(value: &str) -> Result<BlobAccount, String> {
    if value.contains("://") && !value.contains('=') {
        let endpoint = endpoint::checked("the address", value)?;
        return Ok(BlobAccount { endpoint, auth: StorageAuth::Entra });
    }
    let parts = connection_string::parse(value)?;
    let (endpoint, auth) = storage_account::by_connection_string(&parts, Service::Blob)?;
    Ok(BlobAccount { endpoint, auth })
}

/// The app's settings that are numbers, for definitions that name a setting in place of a number.
/// The values of other settings are not kept: they may be secrets.
#[derive(Clone, Default)]
pub struct NumberSettings(Arc<BTreeMap<String, Option<f64>>>);

impl fmt::Debug for NumberSettings {
    /// Shows no names and no values: every variable of the process is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberSettings")
    }
}

impl NumberSettings {
    fn from_env(env: &Env) -> Self {
        let number = |text: &str| text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
        let all = env.beginning_with("");
        Self(Arc::new(all.map(|(name, value)| (name, number(&value))).collect()))
    }

    /// The number; `None` if the setting is not set.
    ///
    /// # Errors
    /// The setting's value, which is not shown, is no number of at least 0.
    pub fn get(&self, name: &str) -> Result<Option<f64>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Some(number)) => Ok(Some(*number)),
            Some(None) => {
                Err(format!("the value of the setting {name} is not a number of at least 0"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AccountName=geo;AccountKey=c2VjcmV0";

    fn read(pairs: &[(&str, &str)]) -> (BlobSettings, String) {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let settings = BlobSettings::from_env(&mut env);
        (settings, env.finish().err().map(|error| error.to_string()).unwrap_or_default())
    }

    /// The address of the app's own blob service.
    #[track_caller]
    fn address(pairs: &[(&str, &str)]) -> String {
        let (settings, problems) = read(pairs);
        assert_eq!(problems, "");
        settings.account(None).unwrap().endpoint.to_string()
    }

    #[test]
    fn the_app_has_the_blobs_of_the_account_of_its_queues() {
        for (setting, value, expected) in [
            (
                "AzureWebJobsStorage",
                "UseDevelopmentStorage=true",
                "http://127.0.0.1:10000/devstoreaccount1/",
            ),
            ("AzureWebJobsStorage", KEY, "https://geo.blob.core.windows.net/"),
            (
                "AzureWebJobsStorage",
                "AccountName=geo;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:1/geo;BlobEndpoint=http://127.0.0.1:2/geo",
                "http://127.0.0.1:2/geo/",
            ),
            (
                "AzureWebJobsStorage",
                "SharedAccessSignature=?sv=1&sig=x;QueueEndpoint=https://geo.queue.core.usgovcloudapi.net",
                "https://geo.blob.core.usgovcloudapi.net/",
            ),
            (
                "AzureWebJobsStorage__queueServiceUri",
                "https://geo.queue.core.windows.net",
                "https://geo.blob.core.windows.net/",
            ),
            (
                "AzureWebJobsStorage__blobServiceUri",
                "https://blobs.example",
                "https://blobs.example/",
            ),
            ("STORAGE_ACCOUNT_NAME", "geo", "https://geo.blob.core.windows.net/"),
        ] {
            assert_eq!(address(&[(setting, value)]), expected, "{setting}={value}");
        }
    }

    #[test]
    fn an_app_without_blobs_starts_and_says_why_when_it_is_asked() {
        for (pairs, reason) in [
            (&[][..], "AzureWebJobsStorage is not set"),
            (
                &[(
                    "AzureWebJobsStorage",
                    "AccountName=geo;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:1/geo",
                )],
                "AzureWebJobsStorage: lacks BlobEndpoint: 127.0.0.1 does not say which address the blob service has",
            ),
            (
                &[("AzureWebJobsStorage__queueServiceUri", "https://queues.example")],
                "AzureWebJobsStorage__queueServiceUri: queues.example does not say which address the blob service has: \
                 set AzureWebJobsStorage__blobServiceUri",
            ),
        ] {
            let (settings, problems) = read(pairs);
            assert_eq!(problems, "");
            assert_eq!(settings.account(None).unwrap_err(), reason);
            assert_eq!(
                settings.account(Some("bronze")).unwrap_err(),
                format!("LASTLIGHT_STORAGE_BRONZE is not set, and {reason}")
            );
        }
    }

    #[test]
    fn a_zone_has_the_account_of_its_setting_or_that_of_the_app() {
        let (settings, problems) = read(&[
            ("AzureWebJobsStorage", KEY),
            ("LASTLIGHT_STORAGE_BRONZE", "AccountName=raw;AccountKey=c2VjcmV0"),
            ("LASTLIGHT_STORAGE_SILVER_EU", "https://cogs.blob.core.windows.net"),
            ("LASTLIGHT_STORAGE_GOLD", " "),
        ]);
        assert_eq!(problems, "");
        let host = |zone| settings.account(zone).unwrap().endpoint.host_str().unwrap().to_owned();
        assert_eq!(host(Some("bronze")), "raw.blob.core.windows.net");
        assert_eq!(host(Some("silver-eu")), "cogs.blob.core.windows.net");
        assert_eq!(settings.account(Some("silver-eu")).unwrap().auth, StorageAuth::Entra);
        for zone in [None, Some("gold"), Some("")] {
            assert_eq!(host(zone), "geo.blob.core.windows.net");
        }
    }

    #[test]
    fn problems_name_the_setting_and_hide_secrets() {
        for (setting, value) in [
            ("LASTLIGHT_STORAGE_BRONZE", "AccountName=geo;AccountKey=topsecret!"),
            ("LASTLIGHT_STORAGE_BRONZE", "topsecret"),
            ("LASTLIGHT_STORAGE_BRONZE", "https://geo.blob.core.windows.net/?sig=topsecret"),
            ("LASTLIGHT_STORAGE_BRONZE", "https://u:topsecret@geo.example"),
            ("LASTLIGHT_STORAGE_BRONZE", "http://geo.example"),
            (
                "LASTLIGHT_STORAGE_BRONZE",
                "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s/)",
            ),
            (
                "AzureWebJobsStorage",
                "AccountName=geo;AccountKey=c2VjcmV0;BlobEndpoint=https://geo.example/?sig=topsecret",
            ),
            ("AzureWebJobsStorage__blobServiceUri", "https://u:topsecret@geo.example"),
        ] {
            let (settings, problems) = read(&[(setting, value)]);
            assert!(problems.contains(setting), "{setting}={value}: {problems:?}");
            let reason = settings.account(None).err().unwrap_or_default();
            let words = format!("{problems} {reason} {settings:?}");
            assert!(!words.contains("topsecret"), "{setting}={value}: {words}");
        }
    }

    #[test]
    fn a_number_setting_is_a_number_or_said_to_be_none() {
        let (settings, _) = read(&[
            ("RASTER_COLLECTION_MAX_FILES", " 20 "),
            ("MAX_MB", "2048.5"),
            ("EMPTY", ""),
            ("NEGATIVE", "-1"),
            ("PASSWORD", "topsecret"),
        ]);
        let number = |name| settings.numbers.get(name);
        assert_eq!(number("RASTER_COLLECTION_MAX_FILES"), Ok(Some(20.0)));
        assert_eq!(number("MAX_MB"), Ok(Some(2048.5)));
        assert_eq!((number("EMPTY"), number("NOT_SET")), (Ok(None), Ok(None)));
        assert!(number("NEGATIVE").is_err());
        assert_eq!(
            number("PASSWORD"),
            Err("the value of the setting PASSWORD is not a number of at least 0".to_owned())
        );
    }
}
