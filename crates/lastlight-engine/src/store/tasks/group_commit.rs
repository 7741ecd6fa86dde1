//! Group commit: requests that wait at the same moment share one statement and one commit.
//!
//! A worker takes the waiting requests, up to a limit, runs one statement for all of them, and
//! answers each. While it runs, the next group accumulates; so no request waits for a timer, an
//! idle system runs one statement per request, and a busy one a fraction of that. Independent of
//! what the statement does.
//!
//! Requests that can be repeated ([`GroupStatement::timeout`]) do not accumulate behind a database
//! that hangs: they are rejected once a statement takes too long, and a request whose caller no
//! longer waits is not run.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use crate::store::connection::DatabaseError;

/// Maximum number of requests in a group: enough to make the commit's share negligible, small
/// enough to keep statements short, and half of the tasks that a process runs at once, so that
/// claims and completions run at the same time.
const LARGEST_GROUP: usize = 128;

/// Size in bytes at which a group is complete, with the request that reaches it: the statement is
/// written to the connection in one piece.
const HEAVIEST_GROUP: usize = 4 * 1024 * 1024;

/// Maximum number of retries of a group after a deadlock with another process's group.
const CONFLICT_RETRIES: u32 = 5;

type Waiting<Request, Answer> = (Request, oneshot::Sender<Result<Answer, DatabaseError>>);

/// A statement that serves many requests at once.
pub(super) trait GroupStatement: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    /// The answer to one request.
    type Answer: Send + 'static;

    /// Size of a request in bytes, without its key.
    fn bytes(&self, _request: &Self::Request) -> usize {
        0
    }

    /// How long a request waits for its answer before it is rejected; `None`: without a limit,
    /// because the request cannot be repeated.
    fn timeout(&self) -> Option<Duration>;

    /// Handles answers whose callers no longer wait.
    fn undelivered(
        &self,
        _answers: Vec<(&Self::Request, Self::Answer)>,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Runs one statement; the answers are in the order of the requests, one each.
    fn run(
        &self,
        requests: &[Self::Request],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, DatabaseError>> + Send;
}

/// Accepts requests and groups them. Its worker ends when it is dropped.
#[derive(Debug)]
pub(super) struct GroupCommit<S: GroupStatement> {
    queue: mpsc::Sender<Waiting<S::Request, S::Answer>>,
    timeout: Option<Duration>,
    /// When the running statement began, if one runs.
    busy_since: Arc<Mutex<Option<Instant>>>,
    sizes: Arc<Sizes>,
}

/// Number of size classes: one per power of two, from 1 to the largest group.
const SIZE_CLASSES: usize = LARGEST_GROUP.ilog2() as usize + 1;

/// Sizes of the groups so far. There is one writer, so readers see at worst one group that is
/// counted in part.
#[derive(Debug, Default)]
struct Sizes {
    /// Number of groups by size: at most 1, 2, 4 … requests, and more than the class before.
    groups: [AtomicU64; SIZE_CLASSES],
    requests: AtomicU64,
}

impl Sizes {
    fn note(&self, size: usize) {
        let class = size.next_power_of_two().ilog2() as usize;
        if let Some(groups) = self.groups.get(class) {
            groups.fetch_add(1, Ordering::Relaxed);
            self.requests.fetch_add(size as u64, Ordering::Relaxed);
        }
    }
}

/// Sizes of the groups of one kind since the process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSizes {
    /// Sizes in ascending order, each with the number of groups of at most that many requests.
    pub at_most: Vec<(u64, u64)>,
    /// Number of requests in all groups.
    pub requests: u64,
}

impl<S: GroupStatement> GroupCommit<S> {
    pub(super) fn start(statement: S) -> Self {
        let (queue, mut waiting) =
            mpsc::channel::<Waiting<S::Request, S::Answer>>(4 * LARGEST_GROUP);
        let timeout = statement.timeout();
        let busy_since = Arc::new(Mutex::new(None));
        let busy = Arc::clone(&busy_since);
        let sizes = Arc::new(Sizes::default());
        let noted = Arc::clone(&sizes);
        tokio::spawn(async move {
            let mut group = Vec::with_capacity(LARGEST_GROUP);
            while let Some(first) = waiting.recv().await {
                let mut bytes = statement.bytes(&first.0);
                group.push(first);
                while group.len() < LARGEST_GROUP
                    && bytes < HEAVIEST_GROUP
                    && let Ok(next) = waiting.try_recv()
                {
                    bytes += statement.bytes(&next.0);
                    group.push(next);
                }
                let mut group = std::mem::replace(&mut group, Vec::with_capacity(LARGEST_GROUP));
                if timeout.is_some() {
                    group.retain(|(_, answer)| !answer.is_closed());
                }
                if !group.is_empty() {
                    noted.note(group.len());
                }
                set(&busy, Some(Instant::now()));
                serve(&statement, group).await;
                set(&busy, None);
            }
        });
        Self { queue, timeout, busy_since, sizes }
    }

    /// Sizes of the groups so far.
    pub(super) fn sizes(&self) -> GroupSizes {
        let mut groups = 0;
        let class = |(class, count): (usize, &AtomicU64)| {
            groups += count.load(Ordering::Relaxed);
            (1 << class, groups)
        };
        GroupSizes {
            at_most: self.sizes.groups.iter().enumerate().map(class).collect(),
            requests: self.sizes.requests.load(Ordering::Relaxed),
        }
    }

    /// Submits a request and waits for its answer, which comes after the commit.
    pub(super) async fn submit(&self, request: S::Request) -> Result<S::Answer, DatabaseError> {
        let Some(timeout) = self.timeout else {
            return self.wait(request).await;
        };
        let hangs = || DatabaseError::Unavailable {
            detail: Arc::from(format!("it has not answered for {} s", timeout.as_secs_f64())),
        };
        let since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| since.elapsed() > timeout) {
            return Err(hangs());
        }
        tokio::time::timeout(timeout, self.wait(request)).await.unwrap_or_else(|_| Err(hangs()))
    }

    async fn wait(&self, request: S::Request) -> Result<S::Answer, DatabaseError> {
        let (answer, answered) = oneshot::channel();
        let gone = || DatabaseError::Unavailable { detail: Arc::from("lastlight is stopping") };
        self.queue.send((request, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn set(busy_since: &Mutex<Option<Instant>>, value: Option<Instant>) {
    *busy_since.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

async fn serve<S: GroupStatement>(statement: &S, group: Vec<Waiting<S::Request, S::Answer>>) {
    if group.is_empty() {
        return;
    }
    let (requests, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    match run_with_retries(statement, &requests).await {
        Ok(results) => {
            let mut undelivered = Vec::new();
            for ((answer, result), request) in answers.into_iter().zip(results).zip(&requests) {
                // The caller no longer waits: the host abandoned the invocation, or the timeout was
                // over.
                if let Err(Ok(result)) = answer.send(Ok(result)) {
                    undelivered.push((request, result));
                }
            }
            if !undelivered.is_empty() {
                statement.undelivered(undelivered).await;
            }
        }
        // A request that the database rejects must not fail the others of its group.
        Err(DatabaseError::Statement(error)) if requests.len() > 1 => {
            tracing::warn!(%error, requests = requests.len(), "a group failed; its requests are run one by one");
            for (answer, request) in answers.into_iter().zip(requests) {
                let alone = std::slice::from_ref(&request);
                let result = run_with_retries(statement, alone).await;
                let _ = answer.send(result.and_then(|mut results| {
                    results.pop().ok_or_else(|| DatabaseError::Unavailable {
                        detail: Arc::from("the statement returned no answer"),
                    })
                }));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

async fn run_with_retries<S: GroupStatement>(
    statement: &S,
    requests: &[S::Request],
) -> Result<Vec<S::Answer>, DatabaseError> {
    let mut tries = 0;
    loop {
        match statement.run(requests).await {
            Err(error) if error.is_conflict() && tries < CONFLICT_RETRIES => tries += 1,
            result => return result,
        }
    }
}
