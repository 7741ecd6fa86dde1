//! Validators: checks at submission that the app runs. A file names them with their settings; the
//! app knows which there are.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One check at submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Validator {
    /// Which check: `blob_exists`, for example.
    pub kind: String,
    /// Its other fields, checked against its [`ValidatorRule`].
    pub fields: Map<String, Value>,
}

/// What the caller of the reader knows about names that are not in the file itself.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The validators that the app has, by type. With `None`, any validator with any fields is
    /// accepted: to read the definition of a stored job, for example, which was checked before.
    pub validators: Option<BTreeMap<String, ValidatorRule>>,
}

/// What a validator is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidatorRule {
    /// What it checks.
    pub about: &'static str,
    /// The fields that it has besides `type`, by name.
    pub fields: BTreeMap<String, FieldRule>,
}

/// One field of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRule {
    /// What it may be.
    pub value: FieldValue,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// What a field of a validator may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValue {
    /// The name of a parameter of the workflow.
    Parameter,
    /// Text: a zone, or the words of a refusal.
    Text,
    /// A number that is more than 0.
    Number,
    /// The name of an app setting.
    Setting,
}

impl FieldValue {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Parameter => "the name of a parameter",
            Self::Text => "text",
            Self::Number => "a number of more than 0",
            Self::Setting => "the name of an app setting",
        }
    }
}

/// A field of a validator of blobs: its name, what it may be, whether it must be there, its meaning.
type BlobField = (&'static str, FieldValue, bool, &'static str);

const CONTAINER: BlobField = (
    "container_param",
    FieldValue::Parameter,
    true,
    "The parameter with the name of the container.",
);

const ZONE: BlobField = (
    "zone",
    FieldValue::Text,
    false,
    "The storage account that is asked: that of the setting `LASTLIGHT_STORAGE_<ZONE>`. Without the field or the setting, the app's own.",
);

const NOT_FOUND: BlobField =
    ("error_not_found", FieldValue::Text, false, "The words of the refusal if there is no blob.");

const BLOB: [BlobField; 4] = [
    CONTAINER,
    ("blob_param", FieldValue::Parameter, true, "The parameter with the name of the blob."),
    ZONE,
    NOT_FOUND,
];

const SIZE: [BlobField; 2] = [
    (
        "max_size_mb",
        FieldValue::Number,
        false,
        "The largest size in MB of 1,048,576 bytes. Without it, any.",
    ),
    (
        "error_too_large",
        FieldValue::Text,
        false,
        "The words of the refusal of a blob that is too large.",
    ),
];

const LIST: [BlobField; 8] = [
    CONTAINER,
    (
        "blob_list_param",
        FieldValue::Parameter,
        true,
        "The parameter with the list of names of blobs, 1 to 10,000.",
    ),
    ZONE,
    (
        "max_individual_size_mb_env",
        FieldValue::Setting,
        false,
        "The app setting with the largest size of each blob in MB. 0, or no value, allows any.",
    ),
    (
        "max_collection_count_env",
        FieldValue::Setting,
        false,
        "The app setting with the largest number of blobs. 0, or no value, allows any.",
    ),
    NOT_FOUND,
    (
        "error_raster_too_large",
        FieldValue::Text,
        false,
        "The words of the refusal if a blob is too large; `{threshold}` in them is the limit.",
    ),
    (
        "error_collection_too_large",
        FieldValue::Text,
        false,
        "The words of the refusal if there are too many blobs; `{limit}` in them is the limit.",
    ),
];

impl Known {
    /// The validators `blob_exists`, `blob_exists_with_size` and `blob_list_exists_with_max_size`.
    pub fn blob_validators() -> Self {
        let rule = |about, fields: &[BlobField]| {
            let field = |&(name, value, required, meaning): &BlobField| {
                (name.to_owned(), FieldRule { value, required, meaning })
            };
            ValidatorRule { about, fields: fields.iter().map(field).collect() }
        };
        let validators = [
            ("blob_exists", rule("A blob exists.", &BLOB)),
            (
                "blob_exists_with_size",
                rule("A blob exists, and is not too large.", &[&BLOB[..], &SIZE[..]].concat()),
            ),
            (
                "blob_list_exists_with_max_size",
                rule(
                    "All blobs of a list exist, none is too large, and there are not too many.",
                    &LIST,
                ),
            ),
        ];
        let validators = validators.map(|(name, rule)| (name.to_owned(), rule));
        Self { validators: Some(validators.into_iter().collect()) }
    }
}
