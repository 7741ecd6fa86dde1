//! Validators: checks of a submission's parameters against blob storage, before its job is stored.
//!
//! A definition names them by type, with fields in the words of the files that the Python app reads.
//! A size in MB is a multiple of 1024 × 1024 bytes, and a limit of 0 is none.

mod check;

use serde::Deserialize;

use super::parameters::number;

/// A check of a submission, as a definition has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Validator {
    /// A blob exists.
    BlobExists(OneBlob),
    /// The same, and its size is known; the two types have the same fields.
    BlobExistsWithSize(OneBlob),
    /// All blobs of a list exist, none is too large, and the list is not too long.
    BlobListExistsWithMaxSize(BlobList),
}

/// The fields of a validator of one blob.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneBlob {
    /// The parameter with the container's name.
    #[serde(default = "container_name")]
    pub container_param: String,
    /// The parameter with the blob's name.
    #[serde(default = "blob_name")]
    pub blob_param: String,
    /// The zone whose storage account has the blob.
    #[serde(default)]
    pub zone: Option<String>,
    /// The largest size in MB.
    #[serde(default, deserialize_with = "limit")]
    pub max_size_mb: f64,
    /// The words of the refusal of a blob that is too large.
    #[serde(default)]
    pub error_too_large: Option<String>,
    /// The words of the refusal of a blob that does not exist.
    #[serde(default)]
    pub error_not_found: Option<String>,
}

/// The fields of a validator of a list of blobs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobList {
    /// The parameter with the container's name.
    #[serde(default = "container_name")]
    pub container_param: String,
    /// The parameter with the list of the blobs' names.
    #[serde(default = "blob_list")]
    pub blob_list_param: String,
    /// The zone whose storage account has the blobs.
    #[serde(default)]
    pub zone: Option<String>,
    /// The app's setting with the largest size of a blob in MB.
    #[serde(default)]
    pub max_individual_size_mb_env: Option<String>,
    /// The app's setting with the largest number of blobs.
    #[serde(default)]
    pub max_collection_count_env: Option<String>,
    /// The words of the refusal of a blob that does not exist.
    #[serde(default)]
    pub error_not_found: Option<String>,
    /// The words of the refusal of a blob that is too large; `{threshold}` stands for the limit.
    #[serde(default)]
    pub error_raster_too_large: Option<String>,
    /// The words of the refusal of a list that is too long; `{limit}` stands for the limit.
    #[serde(default)]
    pub error_collection_too_large: Option<String>,
}

/// Why a submission does not pass a validator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The submission is refused: the same one would be refused again.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it, for whoever submitted it.
        message: String,
    },
    /// The check cannot be made now: storage cannot be reached, or the app's settings are wrong. The
    /// submission may be repeated.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// The types of validators.
const TYPES: [(&str, &[&str]); 3] = [
    ("blob_exists", ONE_BLOB),
    ("blob_exists_with_size", ONE_BLOB),
    (
        "blob_list_exists_with_max_size",
        &[
            "container_param",
            "blob_list_param",
            "zone",
            "max_individual_size_mb_env",
            "max_collection_count_env",
            "error_not_found",
            "error_raster_too_large",
            "error_collection_too_large",
        ],
    ),
];

const ONE_BLOB: &[&str] =
    &["container_param", "blob_param", "zone", "max_size_mb", "error_too_large", "error_not_found"];

impl Validator {
    /// The types with their fields, besides `type`; none of the fields is required.
    pub fn names_and_fields() -> &'static [(&'static str, &'static [&'static str])] {
        &TYPES
    }

    /// The type.
    pub fn name(&self) -> &'static str {
        let [(exists, _), (with_size, _), (list, _)] = TYPES;
        match self {
            Self::BlobExists(_) => exists,
            Self::BlobExistsWithSize(_) => with_size,
            Self::BlobListExistsWithMaxSize(_) => list,
        }
    }

    /// The names of the parameters that it reads.
    pub fn parameters(&self) -> [&str; 2] {
        match self {
            Self::BlobExists(one) | Self::BlobExistsWithSize(one) => {
                [&one.container_param, &one.blob_param]
            }
            Self::BlobListExistsWithMaxSize(list) => [&list.container_param, &list.blob_list_param],
        }
    }
}

fn container_name() -> String {
    "container_name".to_owned()
}

fn blob_name() -> String {
    "blob_name".to_owned()
}

fn blob_list() -> String {
    "blob_list".to_owned()
}

/// Reads a limit: a number of at least 0.
fn limit<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let limit = number(deserializer)?;
    if limit.is_finite() && limit >= 0.0 {
        return Ok(limit);
    }
    Err(serde::de::Error::custom(format_args!("{limit} is not a number of at least 0")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn the_fields_are_those_that_a_definition_may_have() {
        for (name, fields) in Validator::names_and_fields() {
            let mut given: Map<String, Value> = fields
                .iter()
                .map(|field| match *field {
                    "max_size_mb" => (field.to_string(), json!(20480)),
                    _ => (field.to_string(), json!("a")),
                })
                .collect();
            given.insert("type".to_owned(), json!(name));
            let validator: Validator =
                serde_json::from_value(Value::Object(given.clone())).unwrap();
            assert_eq!(validator.name(), *name);
            given.insert("parallel".to_owned(), json!(true));
            let error = serde_json::from_value::<Validator>(Value::Object(given)).unwrap_err();
            let named =
                fields.iter().all(|field| error.to_string().contains(&format!("`{field}`")));
            assert!(named && error.to_string().contains("unknown field `parallel`"), "{error}");
        }
    }

    #[test]
    fn parameters_have_the_names_that_they_have_in_the_python_app() {
        let read = |given: Value| serde_json::from_value::<Validator>(given).unwrap();
        let one = read(json!({ "type": "blob_exists" }));
        assert_eq!(one.parameters(), ["container_name", "blob_name"]);
        let list =
            read(json!({ "type": "blob_list_exists_with_max_size", "container_param": "c" }));
        assert_eq!(list.parameters(), ["c", "blob_list"]);
    }

    #[test]
    fn unknown_types_and_limits_below_zero_are_errors() {
        let error =
            |given: Value| serde_json::from_value::<Validator>(given).unwrap_err().to_string();
        assert_eq!(
            error(json!({ "type": "stac_item_exists" })),
            "unknown variant `stac_item_exists`, expected one of `blob_exists`, `blob_exists_with_size`, \
             `blob_list_exists_with_max_size`"
        );
        assert_eq!(
            error(json!({ "type": "blob_exists_with_size", "max_size_mb": -1 })),
            "-1 is not a number of at least 0"
        );
        assert_eq!(
            error(json!({ "type": "blob_exists_with_size", "max_size_mb": "20" })),
            "invalid type: string \"20\", expected a number"
        );
    }
}
