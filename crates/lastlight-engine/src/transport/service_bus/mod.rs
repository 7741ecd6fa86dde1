//! Service Bus: batches over REST through `azure_messaging_servicebus`, with a custom transport.
//!
//! A response has one status for the whole request, so a failure counts for all of its messages,
//! and messages that may have been stored are sent again with the same message ids. The gate is
//! shared by all senders of the process. Failures after all retries are reported; the caller keeps
//! those messages as unsent.

mod batch;
mod dead_letters;
mod description;
mod gate;
mod rules;
mod token;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use azure_messaging_servicebus::service_bus::{QueueClient, SendMessageOptions};
use futures_util::{StreamExt, stream};

use super::{
    http::backoff,
    sender::{BatchSendReport, MessageSender, OutgoingMessage, QueueRole, SendError},
};
use crate::{config::ServiceBusSettings, model::ProcessingPath};
use batch::Batch;
use dead_letters::DeadLetterNames;
use gate::Gate;
pub use rules::QueueRules;
use transport::{Fault, Transport};

/// Must be exactly this, without a charset, or the service treats the array as one message.
const BATCH_CONTENT_TYPE: &str = "application/vnd.microsoft.servicebus.json";

/// Throttled tries do not count as tries, up to this number, since the service processed nothing.
const MOST_THROTTLED_TRIES: u32 = 20;

/// The sender of the Service Bus path.
#[derive(Debug)]
pub struct ServiceBusRepository {
    settings: ServiceBusSettings,
    dead_letters: DeadLetterNames,
    transport: Arc<Transport>,
    gate: Gate,
    jobs: QueueClient,
    tasks: QueueClient,
    poison: QueueClient,
}

/// The one sender of the process, on one shared client.
///
/// # Errors
/// TLS or the credential could not be set up.
pub fn create_service_bus_repository(
    settings: ServiceBusSettings,
) -> Result<Arc<ServiceBusRepository>, SendError> {
    let transport = Arc::new(Transport::new(&settings)?);
    let client = |queue: &str| {
        // The transport replaces the address and the signature that the crate derives from these.
        let unused = "replaced by the transport";
        QueueClient::new(transport.clone(), "namespace", queue, unused, unused.to_owned())
            .map_err(|error| SendError::Refused { status: 0, detail: error.to_string() })
    };
    Ok(Arc::new(ServiceBusRepository {
        jobs: client(&settings.job_queue)?,
        tasks: client(&settings.task_queue)?,
        poison: client(&settings.poison_queue)?,
        gate: Gate::new(settings.credits_per_second),
        dead_letters: DeadLetterNames::of(&settings),
        transport,
        settings,
    }))
}

impl ServiceBusRepository {
    fn client(&self, role: QueueRole) -> &QueueClient {
        match role {
            QueueRole::Jobs => &self.jobs,
            QueueRole::Tasks => &self.tasks,
            QueueRole::Poison => &self.poison,
        }
    }

    /// Sends one batch, with retries; halves it if the service rejects it as too large.
    async fn send_batch(&self, role: QueueRole, batch: Batch) -> Result<(), SendError> {
        let mut open = vec![batch];
        while let Some(batch) = open.pop() {
            match self.send_with_retries(role, &batch).await {
                Ok(()) => {}
                Err(Fault::TooLarge { detail }) => match batch.halve() {
                    Ok((first, second)) => open.extend([second, first]),
                    Err(whole) => {
                        return Err(SendError::Oversize {
                            message_id: whole.first_message_id().to_owned(),
                            bytes: whole.bytes(),
                            limit: whole.bytes().saturating_sub(1),
                        })
                        .inspect_err(|_| tracing::warn!(detail, "a single message is too large"));
                    }
                },
                Err(fault) => return Err(fault.into_send_error(self.queue_name(role))),
            }
        }
        Ok(())
    }

    async fn send_with_retries(&self, role: QueueRole, batch: &Batch) -> Result<(), Fault> {
        let body = batch.to_json();
        let mut tries = 0;
        let mut throttled = 0;
        loop {
            self.gate.pass(batch.len()).await;
            let options = SendMessageOptions {
                content_type: Some(BATCH_CONTENT_TYPE.to_owned()),
                ..Default::default()
            };
            let Err(error) = self.client(role).send_message(&body, Some(options)).await else {
                return Ok(());
            };
            let fault = Fault::from_crate(error);
            match fault {
                Fault::Throttled { .. } if throttled < MOST_THROTTLED_TRIES => {
                    throttled += 1;
                    self.gate.close();
                }
                Fault::Unknown { .. } if tries < self.settings.retry_count => {
                    tries += 1;
                    tokio::time::sleep(backoff(tries)).await;
                }
                fault => return Err(fault),
            }
        }
    }
}

#[async_trait]
impl MessageSender for ServiceBusRepository {
    fn path(&self) -> ProcessingPath {
        ProcessingPath::ServiceBus
    }

    fn queue_name(&self, role: QueueRole) -> &str {
        match role {
            QueueRole::Jobs => &self.settings.job_queue,
            QueueRole::Tasks => &self.settings.task_queue,
            QueueRole::Poison => &self.settings.poison_queue,
        }
    }

    fn max_body_bytes(&self) -> usize {
        batch::LARGEST_BODY
    }

    async fn batch_send_messages(
        &self,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport {
        let (batches, oversize) = batch::cut(messages, self.settings.max_batch_size);
        let batch_count = batches.len();
        let sends = batches.into_iter().map(|batch| async move {
            let messages = batch.len();
            (messages, self.send_batch(role, batch).await)
        });
        let sends: Vec<_> = sends.collect();
        let results = stream::iter(sends).buffer_unordered(self.settings.sends_in_flight);
        BatchSendReport::gather(batch_count, oversize, results).await
    }

    async fn probe(&self, role: QueueRole) -> Result<Option<u64>, SendError> {
        let counts = self.description(role).await?.counts;
        Ok(counts.map(|counts| counts.active_message_count + counts.scheduled_message_count))
    }
}
