//! `lastlight submit`.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use lastlight_api::Labels;
use serde_json::{Map, Value};

use super::{AppArguments, CommandError, Verdict, labels, watch};
use crate::{say, tell};

/// `lastlight submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArguments {
    /// Job type; `lastlight types` lists them.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    job_type: String,
    /// One parameter. A value that is valid JSON is read as JSON, any other as text; quote text
    /// that looks like JSON: --param 'name="42"'. Overrides --params and --file.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// Parameters as a JSON object.
    #[arg(long = "params", value_name = "JSON", conflicts_with = "file")]
    object: Option<String>,
    /// File with the parameters as a JSON object; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// One label, by which the job can be found: it is no parameter, and no part of the job's identity.
    /// Overrides the field `labels` of --params and --file.
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = labels::label)]
    labels: Vec<(String, String)>,
    /// Run the job over Service Bus: sets the parameter use_service_bus.
    #[arg(long)]
    service_bus: bool,
    /// If the same job exists and is over, run it again: sets the option rerun.
    #[arg(long)]
    rerun: bool,
    /// Follow the job until it finishes, as `lastlight watch` does.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Parses a parameter `name=value`, where the value may be JSON.
///
/// # Errors
/// There is no name, or no `=`.
pub fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.trim().is_empty())
        .ok_or("expected NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.trim().to_owned(), value))
}

/// Maximum size of a parameter file, in bytes. The app accepts 1 MiB of JSON without whitespace.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// A JSON object that an argument or a file has.
pub(super) fn object_of(
    object: Option<&str>,
    file: Option<&Path>,
) -> Result<Map<String, Value>, CommandError> {
    let (from, text) = match (object, file) {
        (Some(text), _) => ("--params".to_owned(), text.to_owned()),
        (None, Some(path)) if path.as_os_str() == "-" => {
            let from = "standard input".to_owned();
            (from.clone(), read(&from, io::stdin())?)
        }
        (None, Some(path)) => {
            let from = format!("--file {}", path.display());
            let file = fs::File::open(path)
                .map_err(|error| CommandError::Argument(format!("{from}: {error}")))?;
            (from.clone(), read(&from, file)?)
        }
        (None, None) => ("nothing".to_owned(), "{}".to_owned()),
    };
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(whole)) => Ok(whole),
        Ok(_) => Err(CommandError::Argument(format!(
            "{from}: it is JSON, but not an object; write it as {{\"n\": 10}}"
        ))),
        Err(error) => Err(CommandError::Argument(format!(
            "{from}: it is not JSON: {error}; write it as {{\"n\": 10}}"
        ))),
    }
}

/// Reads the whole source, up to the limit: an endless device would fill the memory.
fn read(from: &str, source: impl Read) -> Result<String, CommandError> {
    let mut text = String::new();
    source
        .take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| CommandError::Argument(format!("{from}: {error}")))?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(CommandError::Argument(format!(
            "{from}: more than {LARGEST_FILE} bytes; put large data into storage and submit its address"
        )));
    }
    Ok(text)
}

impl SubmitArguments {
    fn whole(&self) -> Result<Map<String, Value>, CommandError> {
        let mut whole = object_of(self.object.as_deref(), self.file.as_deref())?;
        whole.extend(self.parameters.iter().cloned());
        if !self.labels.is_empty() {
            let own = Labels::of(self.labels.iter().cloned())
                .map_err(|problem| CommandError::Argument(format!("--label: {problem}")))?;
            let own = own.iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
            match whole.entry("labels").or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(labels) => labels.extend(own),
                other => *other = Value::Object(own.collect()),
            }
        }
        if self.service_bus {
            whole.insert("use_service_bus".to_owned(), Value::Bool(true));
        }
        if self.rerun {
            whole.insert("rerun".to_owned(), Value::Bool(true));
        }
        Ok(whole)
    }
}

pub(super) async fn submit(arguments: &SubmitArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let parameters = arguments.whole()?;
    let answer = session.client.submit(&arguments.job_type, &parameters).await?;
    if !session.printed(&answer.document) {
        let submitted = &answer.body;
        say!("{}  {}", submitted.job_id, submitted.message);
        for warning in &submitted.warnings {
            tell!("warning: {warning}");
        }
        if !arguments.watch {
            say!("Follow it with: lastlight watch {}", super::short(submitted.job_id.as_str()));
        }
    }
    if arguments.watch {
        return watch::follow(&session, answer.body.job_id.as_str()).await;
    }
    Ok(Verdict::Good)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameter_values_are_json_or_else_text() {
        let value = |text: &str| parameter(text).unwrap().1;
        assert_eq!(value("n=10"), json!(10));
        assert_eq!(value("name=Ada Lovelace"), json!("Ada Lovelace"));
        assert_eq!(value("name=\"42\""), json!("42"));
        assert_eq!(value("tags=[1, \"a\"]"), json!([1, "a"]));
        assert_eq!(value("url=https://a/?b=c"), json!("https://a/?b=c"));
        assert_eq!(value("empty="), json!(""));
        assert!(parameter("n").is_err());
        assert!(parameter("=5").is_err());
    }
}
