//! Checks that the queues of both paths exist and answer, and that their properties suit the app.

use std::time::Duration;

use super::Notes;
use lastlight_engine::{
    config::{ServiceBusSettings, StorageSettings},
    transport::{
        dead_letters::DeadLetterQueues,
        sender::{MessageSender, NO_TOKEN, QueueRole, SendError},
        service_bus::{QueueRules, ServiceBusRepository, create_service_bus_repository},
        storage_queue::create_queue_repository,
    },
};

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The default maximum delivery count of a queue.
const USUAL_DELIVERIES: u32 = 10;

/// A batch of task messages is processed under one lock, which is not renewed.
const SHORTEST_LOCK: Duration = Duration::from_secs(30);

/// The remedy if the settings are right but there is no identity to sign in with.
const SIGN_IN: &str = "Sign in: az login on your own machine, in Azure the app's managed identity (Identity, Status: On); or \
                       use a connection string instead.";

const ROLES: [QueueRole; 3] = [QueueRole::Jobs, QueueRole::Tasks, QueueRole::Poison];

pub(super) async fn storage(settings: StorageSettings) -> Notes {
    let mut notes = Notes::on("storage queues");
    let place = settings.endpoint.to_string();
    let is_development = settings.endpoint.scheme() == "http";
    let queues = match create_queue_repository(settings) {
        Ok(queues) => queues,
        Err(error) => {
            notes.fault(
                error.to_string(),
                "Sign in with az login, or set AzureWebJobsStorage to a connection string.",
            );
            return notes;
        }
    };
    let mut found = Vec::new();
    for role in ROLES {
        let name = queues.queue_name(role).to_owned();
        match within_timeout(queues.probe(role)).await {
            Ok(_) => found.push(name),
            Err(SendError::QueueNotFound { .. }) => notes.warning(
                format!("{name} does not exist yet"),
                "The app creates it with the first message, and so does the host's trigger.",
            ),
            Err(error) => {
                let remedy = if lacks_token(&error) {
                    SIGN_IN
                } else if is_development {
                    "Start Azurite or lastlight local, or correct AzureWebJobsStorage."
                } else {
                    "Correct AzureWebJobsStorage; sign-in by identity needs the role Storage Queue Data Contributor; the account's \
                     firewall must admit this machine."
                };
                notes.fault(format!("{place}: {error}"), remedy);
                // The other queues would give the same error.
                return notes;
            }
        }
    }
    if !found.is_empty() {
        notes.ok(format!("{place} answers: {}", found.join(", ")));
    }
    for role in ROLES {
        if let Ok(count @ 1..) = within_timeout(queues.count(role)).await {
            attention(queues.dead_letter_name(role), count, &mut notes);
        }
    }
    notes
}

pub(super) async fn service_bus(settings: ServiceBusSettings) -> Notes {
    let mut notes = Notes::on("service bus");
    let place = settings.endpoint.to_string();
    let queues = match create_service_bus_repository(settings) {
        Ok(queues) => queues,
        Err(error) => {
            notes.fault(
                error.to_string(),
                "Sign in with az login, or set SERVICE_BUS_CONNECTION_STRING.",
            );
            return notes;
        }
    };
    let mut found = Vec::new();
    for role in ROLES {
        let name = queues.queue_name(role).to_owned();
        match within_timeout(queues.rules(role)).await {
            Ok(rules) => {
                against(&name, role, &rules, &mut notes);
                found.push(described(&name, &rules));
            }
            Err(SendError::QueueNotFound { .. }) => notes.fault(
                format!("{name} does not exist"),
                format!("az servicebus queue create --name {name} --max-delivery-count 10 --lock-duration PT1M, or correct the setting that names it."),
            ),
            Err(SendError::Unauthorized { detail, .. }) if detail.contains("InvalidSignature") => {
                notes.fault(
                    format!("{place}: the key is wrong: {detail}"),
                    "Correct SERVICE_BUS_CONNECTION_STRING (Azure portal: Service Bus namespace, Shared access policies).",
                );
                return notes;
            }
            Err(error @ SendError::Unauthorized { .. }) => {
                notes.warning(
                    format!("{place}: {error}; jobs may run all the same, but the queues cannot be checked"),
                    "The check needs the Manage right: Azure Service Bus Data Owner, or a shared access policy with Manage.",
                );
                return notes;
            }
            Err(error) => {
                let remedy = if lacks_token(&error) {
                    SIGN_IN
                } else {
                    "Correct the namespace in SERVICE_BUS_CONNECTION_STRING or SERVICE_BUS_NAMESPACE; its firewall must admit \
                     this machine."
                };
                notes.fault(format!("{place}: {error}"), remedy);
                return notes;
            }
        }
    }
    if !found.is_empty() {
        notes.ok(format!("{place} answers: {}", found.join("; ")));
    }
    for role in ROLES {
        if let Ok(count @ 1..) = within_timeout(ServiceBusRepository::count(&queues, role)).await {
            attention(queues.dead_letter_name(role), count, &mut notes);
        }
    }
    notes
}

/// A short description of the properties of a queue.
fn described(name: &str, rules: &QueueRules) -> String {
    let mut words = vec![name.to_owned()];
    if let Some(lock) = rules.lock_duration {
        words.push(format!("lock {} s", lock.as_secs()));
    }
    if let Some(count) = rules.max_delivery_count {
        words.push(format!("{count} deliveries"));
    }
    if let Some(drops) = rules.drops_duplicates {
        words.push(format!("duplicate detection {}", if drops { "on" } else { "off" }));
    }
    words.join(", ")
}

/// Reports properties of a queue that do not suit the app.
fn against(name: &str, role: QueueRole, rules: &QueueRules, notes: &mut Notes) {
    if rules.requires_session == Some(true) {
        notes.fault(
            format!("{name} requires sessions, and the app sends messages without a session"),
            "Delete the queue and create it again without sessions: they cannot be switched off.",
        );
    }
    if let Some(status) = rules.status.as_deref().filter(|status| *status != "Active") {
        notes.fault(
            format!("{name} is {status}"),
            format!("az servicebus queue update --name {name} --status Active"),
        );
    }
    if role == QueueRole::Poison {
        return;
    }
    if let Some(count) = rules.max_delivery_count.filter(|count| *count < USUAL_DELIVERIES) {
        notes.warning(
            format!("{name} delivers a message at most {count} times: while the database is unavailable, messages are dead-lettered"),
            format!("az servicebus queue update --name {name} --max-delivery-count 10"),
        );
    }
    if let Some(lock) = rules.lock_duration.filter(|lock| *lock < SHORTEST_LOCK) {
        notes.warning(
            format!(
                "{name} locks a message for {} s: a batch may be redelivered while it is being processed",
                lock.as_secs()
            ),
            format!("az servicebus queue update --name {name} --lock-duration PT1M"),
        );
    }
}

fn attention(name: &str, count: u64, notes: &mut Notes) {
    notes.warning(
        format!("{name} holds {count} dead-lettered message(s)"),
        "lastlight poison list, or GET /api/monitor/poison?peek=32, shows why; see docs/howto/poison.md.",
    );
}

/// Whether no request was made because there was no identity to sign in with.
fn lacks_token(error: &SendError) -> bool {
    matches!(error, SendError::Unavailable { detail } if detail.starts_with(NO_TOKEN))
}

async fn within_timeout<T>(
    asked: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(SendError::Unavailable {
            detail: format!("no answer within {} s", TIMEOUT.as_secs()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn noted(role: QueueRole, rules: &QueueRules) -> Vec<(State, String)> {
        let mut notes = Notes::on("service bus");
        against("q", role, rules, &mut notes);
        notes.findings.into_iter().map(|finding| (finding.state, finding.what)).collect()
    }

    #[test]
    fn default_queues_pass_and_unusable_queues_are_faults() {
        let usual = QueueRules {
            lock_duration: Some(Duration::from_secs(60)),
            max_delivery_count: Some(10),
            drops_duplicates: Some(false),
            requires_session: Some(false),
            status: Some("Active".to_owned()),
        };
        assert_eq!(noted(QueueRole::Tasks, &usual), []);
        assert_eq!(noted(QueueRole::Tasks, &QueueRules::default()), []);
        let bad = QueueRules {
            lock_duration: Some(Duration::from_secs(5)),
            max_delivery_count: Some(1),
            requires_session: Some(true),
            status: Some("Disabled".to_owned()),
            ..usual
        };
        let states: Vec<State> =
            noted(QueueRole::Tasks, &bad).iter().map(|(state, _)| *state).collect();
        assert_eq!(states, [State::Fault, State::Fault, State::Warning, State::Warning]);
        assert_eq!(noted(QueueRole::Poison, &bad).len(), 2);
    }
}
