//! Storage Queues through `azure_storage_queue`. There is no batch send: single messages are sent
//! concurrently.

mod dead_letters;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use azure_storage_queue::{
    QueueClient, QueueClientOptions,
    models::{QueueClientGetPropertiesResultHeaders, QueueClientSendMessageOptions, QueueMessage},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::{
    http::backoff,
    sender::{BatchSendReport, MessageSender, NO_TOKEN, OutgoingMessage, QueueRole, SendError},
    storage_account::{API_VERSION, Access, CLIENTS_LIVE, Fault, Rights},
};
use crate::{
    config::{QueueEncoding, Secret, StorageSettings},
    model::ProcessingPath,
};

/// Maximum size of a stored message in bytes, including encoding.
const LARGEST_MESSAGE: usize = 64 * 1024;

/// Timeout of one request. The service responds within 30 s or not at all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The sender of the Storage Queue path.
pub struct StorageQueueRepository {
    settings: StorageSettings,
    dead_letters: DeadLetterNames,
    access: Access,
    clients: Mutex<Option<Clients>>,
    /// Limits concurrent sends of the whole process, across all batches.
    in_flight: Semaphore,
}

#[derive(Clone)]
struct Clients {
    made: Instant,
    jobs: Arc<QueueClient>,
    tasks: Arc<QueueClient>,
    poison: Arc<QueueClient>,
    dead_lettered_jobs: Arc<QueueClient>,
    dead_lettered_tasks: Arc<QueueClient>,
}

/// The queues into which the host puts messages that were delivered too often.
struct DeadLetterNames {
    jobs: String,
    tasks: String,
}

impl std::fmt::Debug for StorageQueueRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StorageQueueRepository")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The one sender of the process, on one shared client.
///
/// # Errors
/// TLS or the credential could not be set up.
pub fn create_queue_repository(
    settings: StorageSettings,
) -> Result<Arc<StorageQueueRepository>, SendError> {
    let (endpoint, auth) = (settings.endpoint.clone(), settings.auth.clone());
    Ok(Arc::new(StorageQueueRepository {
        access: Access::new(endpoint, auth, Rights::Queues, REQUEST_TIMEOUT)?,
        clients: Mutex::new(None),
        in_flight: Semaphore::new(settings.sends_in_flight),
        dead_letters: DeadLetterNames {
            jobs: format!("{}-poison", settings.job_queue),
            tasks: format!("{}-poison", settings.task_queue),
        },
        settings,
    }))
}

impl StorageQueueRepository {
    /// Creates the missing queues of this path.
    ///
    /// # Errors
    /// The service cannot be reached, or it rejects the request.
    pub async fn ensure_queues(&self) -> Result<(), SendError> {
        for role in [QueueRole::Jobs, QueueRole::Tasks, QueueRole::Poison] {
            self.ensure_queue(role).await?;
        }
        Ok(())
    }

    async fn ensure_queue(&self, role: QueueRole) -> Result<(), SendError> {
        self.client(role)?.create(None).await.map(drop).or_else(|error| {
            match self.fault(role, &error) {
                // The queue exists with other metadata.
                SendError::Refused { status: 409, .. } => Ok(()),
                error => Err(error),
            }
        })
    }

    fn clients(&self) -> Result<Clients, SendError> {
        let mut kept = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*kept {
            Some(clients) if clients.made.elapsed() < CLIENTS_LIVE => clients.clone(),
            _ => kept.insert(self.make_clients()?).clone(),
        })
    }

    fn client(&self, role: QueueRole) -> Result<Arc<QueueClient>, SendError> {
        let clients = self.clients()?;
        Ok(match role {
            QueueRole::Jobs => clients.jobs,
            QueueRole::Tasks => clients.tasks,
            QueueRole::Poison => clients.poison,
        })
    }

    fn make_clients(&self) -> Result<Clients, SendError> {
        let signature = self.access.signature();
        let client = |queue: &str| {
            let mut url = self.settings.endpoint.clone();
            url.set_path(&format!("{}{queue}", url.path()));
            url.set_query(signature.as_ref().map(Secret::expose));
            let options = QueueClientOptions {
                client_options: self.access.client_options(),
                version: API_VERSION.to_owned(),
            };
            QueueClient::new(url, self.access.credential(), Some(options)).map(Arc::new).map_err(
                |error| {
                    // The error contains the URL, which may contain a signature.
                    let detail = format!("the queue client cannot be created: {:?}", error.kind());
                    SendError::Refused { status: 0, detail }
                },
            )
        };
        Ok(Clients {
            made: Instant::now(),
            jobs: client(&self.settings.job_queue)?,
            tasks: client(&self.settings.task_queue)?,
            poison: client(&self.settings.poison_queue)?,
            dead_lettered_jobs: client(&self.dead_letters.jobs)?,
            dead_lettered_tasks: client(&self.dead_letters.tasks)?,
        })
    }

    async fn send_one(&self, role: QueueRole, message: &OutgoingMessage) -> Result<(), SendError> {
        let text = match self.settings.encoding {
            QueueEncoding::Base64 => BASE64_STANDARD.encode(&message.body),
            QueueEncoding::None => message.body.clone(),
        };
        if text.len() > LARGEST_MESSAGE {
            return Err(SendError::Oversize {
                message_id: message.message_id.clone(),
                bytes: text.len(),
                limit: LARGEST_MESSAGE,
            });
        }
        let delay = message
            .delay
            .map(|delay| i32::try_from(delay.as_secs_f64().ceil() as i64).unwrap_or(i32::MAX));
        let mut tries = 0;
        loop {
            let sent = self.try_once(role, text.clone(), delay).await;
            match sent {
                // Create a missing queue, as the host's queue trigger does. Only once, since it may
                // be in the process of deletion.
                Err(SendError::QueueNotFound { .. }) if tries == 0 => {
                    tries += 1;
                    self.ensure_queue(role).await?;
                }
                Err(error) if error.is_transient() && tries < self.settings.retry_count => {
                    tries += 1;
                    tokio::time::sleep(backoff(tries)).await;
                }
                sent => return sent,
            }
        }
    }

    async fn try_once(
        &self,
        role: QueueRole,
        text: String,
        delay: Option<i32>,
    ) -> Result<(), SendError> {
        // The semaphore is never closed, so this always succeeds.
        let _place = self.in_flight.acquire().await;
        let content = QueueMessage { message_text: Some(text) }.try_into().map_err(
            |error: azure_core::Error| SendError::Refused { status: 0, detail: error.to_string() },
        )?;
        let options =
            QueueClientSendMessageOptions { visibility_timeout: delay, ..Default::default() };
        self.client(role)?
            .send_message(content, Some(options))
            .await
            .map(drop)
            .map_err(|error| self.fault(role, &error))
    }

    fn fault(&self, role: QueueRole, error: &azure_core::Error) -> SendError {
        fault(self.queue_name(role), error)
    }
}

fn fault(queue: &str, error: &azure_core::Error) -> SendError {
    let queue = || queue.to_owned();
    match Fault::of(error) {
        Fault::Status { status, code } => {
            let detail = format!("status {status} {code}");
            match status {
                404 => SendError::QueueNotFound { queue: queue() },
                401 | 403 => SendError::Unauthorized { queue: queue(), detail },
                429 | 503 => SendError::Throttled { detail },
                408 | 500 | 502 | 504 => SendError::Unavailable { detail },
                _ => SendError::Refused { status, detail },
            }
        }
        Fault::NoToken(reason) => SendError::Unavailable { detail: format!("{NO_TOKEN}{reason}") },
        Fault::NoAnswer(detail) => SendError::Unavailable { detail },
    }
}

#[async_trait]
impl MessageSender for StorageQueueRepository {
    fn path(&self) -> ProcessingPath {
        ProcessingPath::QueueStorage
    }

    fn queue_name(&self, role: QueueRole) -> &str {
        match role {
            QueueRole::Jobs => &self.settings.job_queue,
            QueueRole::Tasks => &self.settings.task_queue,
            QueueRole::Poison => &self.settings.poison_queue,
        }
    }

    fn max_body_bytes(&self) -> usize {
        match self.settings.encoding {
            QueueEncoding::Base64 => LARGEST_MESSAGE / 4 * 3,
            QueueEncoding::None => LARGEST_MESSAGE,
        }
    }

    async fn batch_send_messages(
        &self,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport {
        let sends: Vec<_> = messages
            .iter()
            .map(|message| async { (1, self.send_one(role, message).await) })
            .collect();
        let results = stream::iter(sends).buffer_unordered(self.settings.sends_in_flight);
        BatchSendReport::gather(messages.len(), Vec::new(), results).await
    }

    async fn probe(&self, role: QueueRole) -> Result<Option<u64>, SendError> {
        let answer = self.client(role)?.get_properties(None).await;
        let count = answer.and_then(|answer| answer.approximate_messages_count());
        let count = count.map_err(|error| self.fault(role, &error))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()))
    }
}
