//! Where jobs are archived before they are deleted: a container of the app's own storage account. Opens nothing.

use std::fmt;

use super::{BlobAccount, BlobSettings, Env, env::shown, reference as setting};

/// The container of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// The blob service of the app's storage account.
    pub account: BlobAccount,
    /// The container's name.
    pub container: ContainerName,
}

/// The name of a container: 3 to 63 characters of a-z, 0-9 and single '-' between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerName(String);

impl ContainerName {
    /// `None` if Azure does not allow the name.
    pub fn parse(name: &str) -> Option<Self> {
        setting::is_storage_name(name).then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ArchiveSettings {
    /// Reads the setting; `None` if there is no archive, or it is invalid (recorded in `env`).
    pub fn from_env(env: &mut Env, blobs: &BlobSettings) -> Option<Self> {
        let name = env.get(&setting::ARCHIVE_CONTAINER)?.to_owned();
        let Some(container) = ContainerName::parse(&name) else {
            let problem = format!(
                "{} is not the name of a container: use {}",
                shown(&name),
                setting::STORAGE_NAMES
            );
            let remedy = "Set it to the name of a container in the app's storage account, such as lastlight-archive, or remove \
                          the setting to delete jobs without an archive.";
            env.problem(setting::ARCHIVE_CONTAINER.name, problem, remedy);
            return None;
        };
        match blobs.account(None) {
            Ok(account) => Some(Self { account: account.clone(), container }),
            Err(reason) => {
                let problem =
                    format!("there is no blob service in which {container} could be: {reason}");
                let remedy = "Set AzureWebJobsStorage to a connection string of an account that has blobs, or name its blob service \
                     with AzureWebJobsStorage__blobServiceUri.";
                env.problem(setting::ARCHIVE_CONTAINER.name, problem, remedy);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Option<ArchiveSettings>, String) {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let blobs = BlobSettings::from_env(&mut env);
        let settings = ArchiveSettings::from_env(&mut env, &blobs);
        (settings, env.finish().err().map(|error| error.to_string()).unwrap_or_default())
    }

    const STORAGE: (&str, &str) = (
        "AzureWebJobsStorage",
        "AccountName=geo;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net",
    );

    #[test]
    fn the_archive_is_in_the_account_of_the_queues() {
        assert_eq!(read(&[STORAGE]), (None, String::new()));
        assert_eq!(read(&[STORAGE, ("ARCHIVE_CONTAINER", " ")]), (None, String::new()));
        let (settings, problems) = read(&[STORAGE, ("ARCHIVE_CONTAINER", "lastlight-archive")]);
        let settings = settings.unwrap();
        assert_eq!(problems, "");
        assert_eq!(settings.account.endpoint.as_str(), "https://geo.blob.core.windows.net/");
        assert_eq!(settings.container.as_str(), "lastlight-archive");
        let identity = ("AzureWebJobsStorage__blobServiceUri", "https://blobs.example");
        let (settings, _) = read(&[identity, ("ARCHIVE_CONTAINER", "abc")]);
        assert_eq!(settings.unwrap().account.endpoint.as_str(), "https://blobs.example/");
    }

    #[test]
    fn a_name_or_an_account_that_does_not_fit_is_a_problem() {
        let long = "a".repeat(64);
        for name in ["ab", "Archive", "a_b", "a/b", "-abc", "abc-", "a--b", "$root", &long] {
            let (settings, problems) = read(&[STORAGE, ("ARCHIVE_CONTAINER", name)]);
            assert_eq!(settings, None, "{name}");
            assert!(
                problems.contains("ARCHIVE_CONTAINER: ") && problems.contains("3 to 63"),
                "{problems}"
            );
        }
        let (settings, problems) = read(&[("ARCHIVE_CONTAINER", "abc")]);
        assert_eq!(settings, None);
        assert!(problems.contains("AzureWebJobsStorage is not set"), "{problems}");
        let queues = ("AzureWebJobsStorage__queueServiceUri", "https://queues.example");
        let (_, problems) = read(&[queues, ("ARCHIVE_CONTAINER", "abc")]);
        assert!(problems.contains("set AzureWebJobsStorage__blobServiceUri"), "{problems}");
        let (_, problems) = read(&[STORAGE, ("ARCHIVE_CONTAINER", "AccountKey=topsecret")]);
        assert!(!problems.contains("topsecret"), "{problems}");
    }
}
