//! An archive in Azurite, a proxy before it that decides what becomes of each request, and the lines of an archive as a reader
//! that knows nothing of the engine's finds them.

use std::{
    collections::BTreeMap,
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use flate2::read::MultiGzDecoder;
use lastlight_engine::{
    archive::ArchiveStorage,
    config::{ArchiveSettings, BlobSettings, DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, Env, Settings},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_util::task::AbortOnDropHandle;

use crate::{blobs::NewContainer, database::service};

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobRequest {
    /// To write a block.
    Stage,
    /// To make a blob of blocks.
    Commit,
    /// The properties of a blob.
    Find,
    /// A part of a blob.
    Read,
    /// A list of blobs.
    List,
    /// The properties of the container.
    Probe,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Pass,
    /// It is answered with this status and code instead.
    Answer(u16, &'static str),
    /// It is carried out, and answered as if the service had been too busy for it.
    Lose,
    /// It waits until [`BlobProxy::open`] is called, and is then carried out.
    Wait,
}

/// Decides the fate of a request, by what it wants and the number of requests of its kind before it.
type Rule = Box<dyn Fn(BlobRequest, usize) -> Fate + Send + Sync>;

/// A proxy before the blob service of Azurite.
pub struct BlobProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

struct Shared {
    service: String,
    client: reqwest::Client,
    rule: Mutex<Rule>,
    seen: Mutex<BTreeMap<BlobRequest, Vec<usize>>>,
    gate: tokio::sync::watch::Sender<bool>,
}

impl BlobProxy {
    /// Starts a proxy that lets everything pass.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            service: service("AZURITE_BLOB_ENDPOINT").replace("/devstoreaccount1", ""),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            rule: Mutex::new(Box::new(|_, _| Fate::Pass)),
            seen: Mutex::default(),
            gate: tokio::sync::watch::Sender::new(false),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, shared, _serving: AbortOnDropHandle::new(serving) }
    }

    /// From now on requests fare so; numbers begin with 0.
    pub fn rule(&self, rule: impl Fn(BlobRequest, usize) -> Fate + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Lets requests go on that wait, and later ones.
    pub fn open(&self) {
        self.shared.gate.send_replace(true);
    }

    /// The sizes of the requests of a kind so far.
    pub fn seen(&self, of: BlobRequest) -> Vec<usize> {
        self.shared.seen.lock().unwrap().get(&of).cloned().unwrap_or_default()
    }

    /// Its address in place of the blob service's.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{DEVELOPMENT_ACCOUNT}", self.address)
    }

    /// The archive in a container, reached through this proxy.
    pub fn archive(&self, container: &str) -> ArchiveStorage {
        archive_with(&connection(&self.endpoint()), container)
    }
}

/// The connection string of the account with its key, and this address of its blob service.
pub fn connection(endpoint: &str) -> String {
    format!(
        "AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};BlobEndpoint={endpoint};QueueEndpoint={endpoint}"
    )
}

/// The settings of an archive with this connection string.
pub fn archive_settings(connection: &str, container: &str) -> ArchiveSettings {
    let pairs = [("AzureWebJobsStorage", connection), ("ARCHIVE_CONTAINER", container)];
    let mut env = Env::from_pairs(pairs);
    let blobs = BlobSettings::from_env(&mut env);
    let read = ArchiveSettings::from_env(&mut env, &blobs);
    env.finish().unwrap();
    let all = Settings::load_archive(Env::from_pairs(pairs)).unwrap();
    assert_eq!(read, all);
    read.unwrap()
}

/// The archive with this connection string.
pub fn archive_with(connection: &str, container: &str) -> ArchiveStorage {
    ArchiveStorage::new(&archive_settings(connection, container)).unwrap()
}

/// The archive in a container of Azurite.
pub fn archive_in(container: &NewContainer) -> ArchiveStorage {
    archive_with(&connection(&service("AZURITE_BLOB_ENDPOINT")), &container.name)
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let wanted = wanted(&head);
    let number = {
        let mut seen = shared.seen.lock().unwrap();
        let sizes = seen.entry(wanted).or_default();
        sizes.push(body.len());
        sizes.len() - 1
    };
    let fate = (shared.rule.lock().unwrap())(wanted, number);
    if let Fate::Answer(status, code) = fate {
        let status = StatusCode::from_u16(status).unwrap();
        return (status, [("x-ms-error-code", code)]).into_response();
    }
    if fate == Fate::Wait {
        let _ = shared.gate.subscribe().wait_for(|is_open| *is_open).await;
    }
    match forward(&shared, head, body).await {
        Ok(_) if fate == Fate::Lose => busy(),
        Ok(answer) => answer,
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn forward(
    shared: &Shared,
    head: http::request::Parts,
    body: Bytes,
) -> Result<Response, reqwest::Error> {
    let target = head.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let mut headers = head.headers;
    headers.remove("host");
    let answer = shared
        .client
        .request(head.method, format!("{}{target}", shared.service))
        .headers(headers)
        .body(body)
        .send()
        .await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from(answer.bytes().await?));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().remove("transfer-encoding");
    Ok(response)
}

fn busy() -> Response {
    let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
    response.headers_mut().insert("x-ms-error-code", "ServerBusy".parse().unwrap());
    response
}

fn wanted(head: &http::request::Parts) -> BlobRequest {
    let query = head.uri.query().unwrap_or_default();
    let has = |pair: &str| query.split('&').any(|one| one == pair);
    match head.method.as_str() {
        "PUT" if has("comp=block") => BlobRequest::Stage,
        "PUT" => BlobRequest::Commit,
        "HEAD" => BlobRequest::Find,
        _ if has("comp=list") => BlobRequest::List,
        _ if has("restype=container") => BlobRequest::Probe,
        _ => BlobRequest::Read,
    }
}

/// A blob of an archive.
#[derive(Debug, Clone)]
pub struct ArchivedBlob {
    pub name: String,
    pub metadata: BTreeMap<String, String>,
    pub etag: String,
    pub bytes: Vec<u8>,
}

impl ArchivedBlob {
    /// The lines. The checksum must be that of the metadata, and the last line must count the others.
    pub fn lines(&self) -> Vec<Value> {
        self.read().unwrap_or_else(|problem| panic!("{}: {problem}", self.name))
    }

    /// The same; what is wrong is an error.
    ///
    /// # Errors
    /// It is no complete archive.
    pub fn read(&self) -> Result<Vec<Value>, String> {
        let holds = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        let metadata = |name: &str| self.metadata.get(name).cloned().unwrap_or_default();
        let sum = Sha256::digest(&self.bytes);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        holds(sum == metadata("sha256"), "the checksum is wrong")?;
        let mut text = String::new();
        MultiGzDecoder::new(&*self.bytes)
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
        holds(text.len().to_string() == metadata("uncompressed_bytes"), "its size is wrong")?;
        holds(text.ends_with('\n'), "its last line has no end")?;
        let lines = text
            .split_terminator('\n')
            .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
            .collect::<Result<Vec<Value>, String>>()?;
        let end = lines.last().ok_or("it has no line")?;
        let counted = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        holds(lines[0]["kind"] == "job" && end["kind"] == "end", "it has no job or no end")?;
        holds(counted("job") == 1 && counted("end") == 1, "it has several jobs or ends")?;
        for (kind, field) in [("stage", "stages"), ("task", "tasks"), ("event", "events")] {
            holds(end[field] == counted(kind), &format!("its end counts other {field}: {end}"))?;
        }
        let tasks = metadata("tasks").parse::<u64>().ok();
        holds(end["tasks"].as_u64() == tasks, "its metadata count other tasks")?;
        Ok(lines)
    }

    /// The lines of a kind.
    pub fn of(&self, kind: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["kind"] == kind).collect()
    }
}

impl NewContainer {
    /// All blobs whose names begin so, with their content, in the order of their names.
    pub async fn blobs(&self, prefix: &str) -> Vec<ArchivedBlob> {
        use azure_storage_blob::models::{
            BlobClientGetPropertiesResultHeaders, BlobContainerClientListBlobsOptions,
        };
        use futures_util::TryStreamExt;
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let mut pages = self.client.list_blobs(Some(options)).unwrap().into_pages();
        let mut found = Vec::new();
        while let Some(page) = pages.try_next().await.unwrap() {
            for item in page.into_model().unwrap().blob_items {
                let name = item.name.unwrap();
                let blob = self.client.blob_client(&name);
                let properties = blob.get_properties(None).await.unwrap();
                let metadata = properties.metadata().unwrap();
                let etag = properties.etag().unwrap().unwrap().to_string();
                let content = blob.download(None).await.unwrap();
                let bytes = content.body.collect().await.unwrap().to_vec();
                let metadata =
                    metadata.into_iter().map(|(name, value)| (name.to_lowercase(), value));
                found.push(ArchivedBlob { name, metadata: metadata.collect(), etag, bytes });
            }
        }
        found
    }
}
