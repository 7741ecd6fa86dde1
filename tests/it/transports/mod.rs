//! Every message is sent, or the error says why not; dead-lettered messages are shown as they are;
//! blobs are found.

mod blob_storage;
mod dead_letters;
mod sender_service_bus;
mod sender_storage_queue;

use std::sync::Arc;

use lastlight_engine::{
    config::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, Env, StorageSettings},
    transport::{
        sender::OutgoingMessage,
        storage_queue::{StorageQueueRepository, create_queue_repository},
    },
};
use lastlight_local::broker::{
    Endpoint, Faults, StorageQueues,
    storage_queue::{self, StorageAccount},
};

/// A Storage Queue endpoint of this machine, and the URL of its account.
async fn local_storage() -> (Endpoint, String) {
    let account =
        StorageAccount { name: DEVELOPMENT_ACCOUNT.to_owned(), key: DEVELOPMENT_KEY.to_owned() };
    let router = storage_queue::router(StorageQueues::new(), account, Faults::default());
    let endpoint = Endpoint::start("Storage Queues", 0, router).await.unwrap();
    let url = format!("http://{}/{DEVELOPMENT_ACCOUNT}", endpoint.address());
    (endpoint, url)
}

/// A repository for the account at `endpoint`, with these settings for its queues.
fn repository(endpoint: &str, key: &str, queues: &[(&str, &str)]) -> Arc<StorageQueueRepository> {
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={DEVELOPMENT_ACCOUNT};AccountKey={key};QueueEndpoint={endpoint}"
    );
    let settings = [&[("AzureWebJobsStorage", connection.as_str())], queues].concat();
    let mut env = Env::from_pairs(settings);
    let settings = StorageSettings::from_env(&mut env).unwrap();
    env.finish().unwrap();
    create_queue_repository(settings).unwrap()
}

fn messages(count: usize) -> Vec<OutgoingMessage> {
    (0..count)
        .map(|number| OutgoingMessage {
            message_id: format!("m-{number}"),
            correlation_id: String::new(),
            body: format!("{{\"number\":{number},\"text\":\"<ü&>\"}}"),
            delay: None,
            trace: None,
        })
        .collect()
}
