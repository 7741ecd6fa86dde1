//! `host.json` and the `function.json` files as types. An error names the file, the field and the
//! value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use lastlight_engine::config::host_json;

/// An error in the files of an app.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct AppError {
    path: PathBuf,
    problem: String,
}

/// A function app, read from its files.
#[derive(Debug)]
pub struct FunctionApp {
    pub root: PathBuf,
    /// `customHandler.description.defaultExecutablePath`.
    pub executable: PathBuf,
    /// `customHandler.description.arguments`.
    pub arguments: Vec<String>,
    /// `customHandler.enableForwardingHttpRequest`: HTTP requests are forwarded unchanged.
    pub forwards_http: bool,
    /// `extensions.http.routePrefix`.
    pub route_prefix: String,
    /// Time after which an invocation fails and its process is killed; [`Duration::MAX`] means no
    /// limit.
    pub function_timeout: Duration,
    pub(super) queues: QueueSettings,
    pub(super) service_bus: ServiceBusTriggerSettings,
    /// All enabled functions, sorted by name.
    pub functions: Vec<Function>,
}

#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    pub trigger: Binding,
}

/// The trigger of a function, with `%NAME%` resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// An HTTP request.
    Http {
        /// The key in `Data`.
        binding: String,
        /// The route template, without the route prefix.
        route: String,
        /// Allowed methods in upper case; empty means all.
        methods: Vec<String>,
    },
    /// A Storage Queue message.
    Queue {
        /// The key in `Data`.
        binding: String,
        queue: String,
    },
    /// One or several Service Bus messages.
    ServiceBus {
        /// The key in `Data`.
        binding: String,
        queue: String,
        /// One message per invocation, or several.
        cardinality: Cardinality,
    },
    Timer {
        /// The key in `Data`.
        binding: String,
        /// Six fields, seconds first.
        schedule: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cardinality {
    #[default]
    One,
    /// Up to `maxMessageBatchSize` messages per invocation.
    Many,
}

/// `extensions.queues`, with the defaults of the host.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QueueSettings {
    pub batch_size: usize,
    pub new_batch_threshold: usize,
    pub max_dequeue_count: u32,
    #[serde(deserialize_with = "time_span")]
    pub visibility_timeout: Duration,
    #[serde(deserialize_with = "time_span")]
    pub max_polling_interval: Duration,
    pub message_encoding: MessageEncoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MessageEncoding {
    Base64,
    None,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            batch_size: 16,
            new_batch_threshold: 8,
            max_dequeue_count: 5,
            visibility_timeout: Duration::ZERO,
            max_polling_interval: Duration::from_secs(60),
            message_encoding: MessageEncoding::Base64,
        }
    }
}

/// `extensions.serviceBus`, with the defaults of the extension.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceBusTriggerSettings {
    pub prefetch_count: usize,
    pub max_concurrent_calls: usize,
    pub max_message_batch_size: usize,
    #[serde(deserialize_with = "time_span")]
    pub max_auto_lock_renewal_duration: Duration,
}

impl Default for ServiceBusTriggerSettings {
    fn default() -> Self {
        Self {
            prefetch_count: 0,
            max_concurrent_calls: 16,
            max_message_batch_size: 1000,
            max_auto_lock_renewal_duration: Duration::from_secs(300),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostJson {
    version: String,
    #[serde(default, deserialize_with = "function_timeout")]
    function_timeout: Option<Duration>,
    custom_handler: CustomHandler,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomHandler {
    description: Description,
    #[serde(default)]
    enable_forwarding_http_request: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    default_executable_path: PathBuf,
    #[serde(default)]
    arguments: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Extensions {
    http: HttpExtension,
    queues: QueueSettings,
    service_bus: ServiceBusTriggerSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpExtension {
    route_prefix: String,
}

impl Default for HttpExtension {
    fn default() -> Self {
        Self { route_prefix: "api".to_owned() }
    }
}

#[derive(Deserialize)]
struct FunctionJson {
    #[serde(default)]
    disabled: bool,
    bindings: Vec<BindingJson>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum BindingJson {
    HttpTrigger {
        name: String,
        route: Option<String>,
        #[serde(default)]
        methods: Vec<String>,
    },
    Http {},
    QueueTrigger {
        name: String,
        queue_name: String,
    },
    ServiceBusTrigger {
        name: String,
        queue_name: String,
        #[serde(default)]
        cardinality: Cardinality,
    },
    TimerTrigger {
        name: String,
        schedule: String,
    },
}

impl FunctionApp {
    /// Reads the app in `root`; `settings` resolve `%NAME%`. `known` maps the names of functions
    /// that need no folder to the text of their `function.json`; a folder of the same name takes
    /// precedence.
    ///
    /// # Errors
    /// A file is missing or invalid.
    pub fn read(
        root: &Path,
        settings: &BTreeMap<String, String>,
        known: &BTreeMap<String, String>,
    ) -> Result<Self, AppError> {
        let host_path = root.join("host.json");
        let HostJson { version, function_timeout, custom_handler, extensions } =
            host_json(&host_path, settings)?;
        if version != "2.0" {
            return Err(AppError {
                path: host_path,
                problem: format!("version is {version:?}; only \"2.0\" is supported"),
            });
        }
        if !(1..=32).contains(&extensions.queues.batch_size) {
            let problem = format!(
                "extensions.queues.batchSize is {}; 1 to 32 are allowed",
                extensions.queues.batch_size
            );
            return Err(AppError { path: host_path, problem });
        }
        let mut functions = Vec::new();
        let mut with_folder = BTreeSet::new();
        let entries = fs::read_dir(root)
            .map_err(|error| AppError { path: root.to_owned(), problem: error.to_string() })?;
        for entry in entries.flatten() {
            let path = entry.path().join("function.json");
            if path.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                functions.extend(function(&path, name.clone(), json(&path)?, settings)?);
                with_folder.insert(name);
            }
        }
        for (name, text) in known.iter().filter(|(name, _)| !with_folder.contains(*name)) {
            let path = root.join(name).join("function.json");
            functions.extend(function(&path, name.clone(), parsed(&path, text)?, settings)?);
        }
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            root: root.to_owned(),
            executable: custom_handler.description.default_executable_path,
            arguments: custom_handler.description.arguments,
            forwards_http: custom_handler.enable_forwarding_http_request,
            route_prefix: extensions.http.route_prefix,
            function_timeout: function_timeout.unwrap_or(Duration::from_secs(30 * 60)),
            queues: extensions.queues,
            service_bus: extensions.service_bus,
            functions,
        })
    }
}

/// host.json, overridden by the app settings, as in the real host.
fn host_json(path: &Path, settings: &BTreeMap<String, String>) -> Result<HostJson, AppError> {
    let host = host_json::overlaid(json(path)?, settings);
    serde_json::from_value(host)
        .map_err(|error| AppError { path: path.to_owned(), problem: error.to_string() })
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, AppError> {
    let failed = |problem: String| AppError { path: path.to_owned(), problem };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    parsed(path, &text)
}

fn parsed<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, AppError> {
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| AppError { path: path.to_owned(), problem: error.to_string() })
}

fn function(
    path: &Path,
    name: String,
    file: FunctionJson,
    settings: &BTreeMap<String, String>,
) -> Result<Option<Function>, AppError> {
    let FunctionJson { disabled, bindings } = file;
    if disabled || host_json::is_switched_off(settings, &name) {
        return Ok(None);
    }
    let failed = |problem: String| AppError { path: path.to_owned(), problem };
    let resolve = |text: &str| resolved(text, settings).map_err(failed);
    let mut triggers = Vec::new();
    for binding in bindings {
        triggers.push(match binding {
            BindingJson::Http {} => continue,
            BindingJson::HttpTrigger { name: binding, route, methods } => Binding::Http {
                binding,
                route: resolve(route.as_deref().unwrap_or(&name))?,
                methods: methods.iter().map(|method| method.to_ascii_uppercase()).collect(),
            },
            BindingJson::QueueTrigger { name: binding, queue_name } => {
                Binding::Queue { binding, queue: resolve(&queue_name)? }
            }
            BindingJson::ServiceBusTrigger { name: binding, queue_name, cardinality } => {
                Binding::ServiceBus { binding, queue: resolve(&queue_name)?, cardinality }
            }
            BindingJson::TimerTrigger { name: binding, schedule } => {
                let schedule = resolve(&schedule)?;
                super::timer_trigger::parse(&schedule).map_err(failed)?;
                Binding::Timer { binding, schedule }
            }
        });
    }
    match <[Binding; 1]>::try_from(triggers) {
        Ok([trigger]) => Ok(Some(Function { name, trigger })),
        Err(triggers) => {
            Err(failed(format!("it has {} triggers; a function has exactly one", triggers.len())))
        }
    }
}

/// Replaces each `%NAME%` with the setting of this name.
fn resolved(text: &str, settings: &BTreeMap<String, String>) -> Result<String, String> {
    host_json::resolved(text, settings).map_err(|missing| match missing {
        Some(name) => {
            format!("%{name}% names a setting that is not set; set {name} (see local.settings.example.json)")
        }
        None => format!("{text:?} has an unpaired %"),
    })
}

/// `hh:mm:ss`, or `d.hh:mm:ss`.
fn time_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    host_json::time_span(&text)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is not a time span hh:mm:ss")))
}

/// A time span, or `-1` for no limit.
fn function_timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let unbounded = value == "-1" || value == -1;
    let span = value.as_str().and_then(host_json::time_span);
    let read = if unbounded { Some(Duration::MAX) } else { span };
    let read = read.filter(|timeout| !timeout.is_zero());
    read.map(Some).ok_or_else(|| {
        let allowed = "a time span hh:mm:ss of a second or more, or \"-1\" for no limit";
        D::Error::custom(format!("functionTimeout is {value}; write {allowed}"))
    })
}
