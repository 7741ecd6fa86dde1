//! The checks themselves.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};

use super::{BlobList, OneBlob, Refusal, Validator};
use crate::transport::blob_storage::{BlobAddress, BlobError, BlobStorage, Found};

/// Number of blobs that one check looks for at the same time.
const AT_ONCE: usize = 16;

/// Maximum length of a list, so that a check ends in time: a submission waits for it.
const LONGEST_LIST: usize = 10_000;

/// A refusal names this number of missing blobs.
const NAMED: usize = 10;

/// Bytes of an MB.
const MB: f64 = 1024.0 * 1024.0;

impl Validator {
    /// Checks a submission with these parameters.
    ///
    /// # Errors
    /// The submission is refused, or the check cannot be made now.
    pub async fn check(
        &self,
        parameters: &Map<String, Value>,
        storage: &BlobStorage,
    ) -> Result<(), Refusal> {
        match self {
            Self::BlobExists(one) | Self::BlobExistsWithSize(one) => {
                one.check(self.name(), parameters, storage).await
            }
            Self::BlobListExistsWithMaxSize(list) => {
                list.check(self.name(), parameters, storage).await
            }
        }
    }
}

impl OneBlob {
    async fn check(
        &self,
        name: &str,
        parameters: &Map<String, Value>,
        storage: &BlobStorage,
    ) -> Result<(), Refusal> {
        let container = text(name, parameters, &self.container_param)?;
        let blob = text(name, parameters, &self.blob_param)?;
        let address = BlobAddress::new(container, blob).map_err(invalid)?;
        let zone = self.zone.as_deref();
        match storage.find(zone, &address).await.map_err(unavailable)? {
            Found::Blob { bytes } => match over(bytes, self.max_size_mb) {
                Some(size) => Err(refused(
                    self.error_too_large.as_deref(),
                    &format!("{address} has {size}; at most {} MB are allowed", self.max_size_mb),
                )),
                None => Ok(()),
            },
            Found::NoBlob => {
                let detail = format!("there is no blob {address}{}", of_zone(zone));
                Err(refused(self.error_not_found.as_deref(), &detail))
            }
            Found::NoContainer => {
                Err(refused(self.error_not_found.as_deref(), &no_container(container, zone)))
            }
        }
    }
}

impl BlobList {
    async fn check(
        &self,
        name: &str,
        parameters: &Map<String, Value>,
        storage: &BlobStorage,
    ) -> Result<(), Refusal> {
        let container = text(name, parameters, &self.container_param)?;
        let names = self.names(name, parameters)?;
        self.check_count(names.len(), storage)?;
        let most_mb = limit(storage, self.max_individual_size_mb_env.as_deref())?;
        let address = |blob: &str| BlobAddress::new(container, blob).map_err(invalid);
        let addresses: Vec<BlobAddress> =
            names.iter().map(|blob| address(blob)).collect::<Result<_, _>>()?;
        let zone = self.zone.as_deref();

        let looking = addresses.iter().cloned().map(|address| async move {
            let found = storage.find(zone, &address).await.map_err(unavailable)?;
            Ok::<_, Refusal>((address, found))
        });
        // In the order of the list, so that a refusal is the same each time.
        let mut found = stream::iter(looking).buffered(AT_ONCE);
        let mut missing: Vec<String> = Vec::new();
        let mut largest: Option<(BlobAddress, u64)> = None;
        while let Some((address, found)) = found.try_next().await? {
            match found {
                Found::NoContainer => {
                    let detail = no_container(container, zone);
                    return Err(refused(self.error_not_found.as_deref(), &detail));
                }
                Found::NoBlob => missing.push(address.blob().to_owned()),
                Found::Blob { bytes } => {
                    if largest.as_ref().is_none_or(|(_, most)| bytes > *most) {
                        largest = Some((address, bytes));
                    }
                }
            }
        }

        if !missing.is_empty() {
            let named: Vec<String> =
                missing.iter().take(NAMED).map(|blob| format!("{blob:?}")).collect();
            let more = match missing.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let detail = format!(
                "{} of {} blobs are not in the container {container}{}: {}{more}",
                missing.len(),
                addresses.len(),
                of_zone(zone),
                named.join(", ")
            );
            return Err(refused(self.error_not_found.as_deref(), &detail));
        }
        if let Some((address, bytes)) = largest
            && let Some(size) = over(bytes, most_mb)
        {
            let words = self.error_raster_too_large.as_deref();
            let words = words.map(|words| words.replace("{threshold}", &most_mb.to_string()));
            let detail = format!(
                "the largest is {address}, which has {size}; at most {most_mb} MB are allowed"
            );
            return Err(refused(words.as_deref(), &detail));
        }
        Ok(())
    }

    /// The names of the blobs, at least one.
    fn names<'a>(
        &self,
        validator: &str,
        parameters: &'a Map<String, Value>,
    ) -> Result<Vec<&'a str>, Refusal> {
        let parameter = &self.blob_list_param;
        let list = match parameters.get(parameter) {
            Some(Value::Array(list)) if !list.is_empty() => list,
            _ => {
                return Err(invalid(format!(
                    "{parameter} must be a list with at least one name of a blob, which the validator {validator} checks"
                )));
            }
        };
        let name = |(index, value): (usize, &'a Value)| {
            value
                .as_str()
                .ok_or_else(|| invalid(format!("{parameter}[{index}] must be the name of a blob")))
        };
        list.iter().enumerate().map(name).collect()
    }

    /// Checks the length of the list, before a request is made.
    fn check_count(&self, count: usize, storage: &BlobStorage) -> Result<(), Refusal> {
        let most = limit(storage, self.max_collection_count_env.as_deref())?;
        if most > 0.0 && count as f64 > most {
            let words = self.error_collection_too_large.as_deref();
            let words = words.map(|words| words.replace("{limit}", &most.to_string()));
            let detail =
                format!("{} has {count} blobs; at most {most} are allowed", self.blob_list_param);
            return Err(refused(words.as_deref(), &detail));
        }
        if count > LONGEST_LIST {
            return Err(invalid(format!(
                "{} has {count} blobs; at most {LONGEST_LIST} can be checked",
                self.blob_list_param
            )));
        }
        Ok(())
    }
}

/// The limit that a setting of the app has; 0, which is no limit, if there is none.
fn limit(storage: &BlobStorage, setting: Option<&str>) -> Result<f64, Refusal> {
    let limit = setting.map(|setting| storage.numbers().get(setting)).transpose();
    let limit = limit.map_err(|reason| Refusal::Unavailable { reason })?;
    Ok(limit.flatten().unwrap_or_default())
}

/// The size, in words, if it is over the limit in MB.
fn over(bytes: u64, most_mb: f64) -> Option<String> {
    let mb = bytes as f64 / MB;
    (most_mb > 0.0 && mb > most_mb).then(|| format!("{bytes} bytes, {mb:.2} MB"))
}

/// The text of a parameter, which must not be empty.
fn text<'a>(
    validator: &str,
    parameters: &'a Map<String, Value>,
    parameter: &str,
) -> Result<&'a str, Refusal> {
    let text = parameters.get(parameter).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| {
        invalid(format!(
            "{parameter} must be a text that is not empty, which the validator {validator} checks"
        ))
    })
}

fn of_zone(zone: Option<&str>) -> String {
    zone.map(|zone| format!(" of the zone {zone}")).unwrap_or_default()
}

fn no_container(container: &str, zone: Option<&str>) -> String {
    format!("there is no container {container}{}", of_zone(zone))
}

/// A refusal in the definition's words, with the detail after them; without words, the detail alone.
fn refused(words: Option<&str>, detail: &str) -> Refusal {
    match words {
        Some(words) => invalid(format!("{words} ({detail})")),
        None => invalid(detail.to_owned()),
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::Invalid { message }
}

fn unavailable(error: BlobError) -> Refusal {
    Refusal::Unavailable { reason: error.to_string() }
}
