//! A transport in memory: its messages stay in a mailbox until a test delivers them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use lastlight_engine::{
    model::ProcessingPath,
    transport::{
        dead_letters::{DeadLetter, DeadLetterQueues, Settled, TakenMessage},
        sender::{BatchSendReport, MessageSender, OutgoingMessage, QueueRole, SendError},
    },
};

/// A transport whose messages wait for the test. It can be switched off, and accepts what a queue
/// would accept.
#[derive(Debug)]
pub struct Mailbox {
    path: ProcessingPath,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Waiting>,
    tasks: VecDeque<Waiting>,
    poison: VecDeque<Waiting>,
    /// Dead-lettered messages.
    dead_lettered_jobs: VecDeque<Waiting>,
    dead_lettered_tasks: VecDeque<Waiting>,
    down: bool,
    /// It accepts requests and never answers.
    hangs: bool,
    /// Number of sends that succeed before it goes down by itself.
    sends_left: Option<usize>,
}

/// A message, and when it becomes visible.
type Waiting = (Instant, OutgoingMessage);

impl Mailbox {
    pub fn new(path: ProcessingPath) -> Arc<Self> {
        Arc::new(Self { path, state: Mutex::default() })
    }

    pub fn set_down(&self, down: bool) {
        let mut state = self.state.lock().unwrap();
        state.down = down;
        state.sends_left = None;
    }

    /// Health checks get no answer.
    pub fn set_hangs(&self, hangs: bool) {
        self.state.lock().unwrap().hangs = hangs;
    }

    pub fn goes_down_after(&self, sends: usize) {
        self.state.lock().unwrap().sends_left = Some(sends);
    }

    /// All messages that are visible by now.
    pub fn take(&self, role: QueueRole) -> Vec<OutgoingMessage> {
        let mut state = self.state.lock().unwrap();
        let waiting = queue(&mut state, role);
        let now = Instant::now();
        let (due, later): (VecDeque<_>, VecDeque<_>) =
            waiting.drain(..).partition(|(shows, _)| *shows <= now);
        *waiting = later;
        due.into_iter().map(|(_, message)| message).collect()
    }

    /// All delayed messages, before they become visible.
    pub fn take_delayed(&self, role: QueueRole) -> Vec<OutgoingMessage> {
        let mut state = self.state.lock().unwrap();
        let waiting = queue(&mut state, role);
        let (delayed, others) = waiting.drain(..).partition(|(_, message)| message.delay.is_some());
        *waiting = others;
        let delayed: VecDeque<Waiting> = delayed;
        delayed.into_iter().map(|(_, message)| message).collect()
    }

    pub fn count(&self, role: QueueRole) -> usize {
        queue(&mut self.state.lock().unwrap(), role).len()
    }

    /// Dead-letters a message, as a host does after too many deliveries.
    pub fn put_aside(&self, role: QueueRole, body: &str) {
        let message = OutgoingMessage {
            message_id: uuid::Uuid::new_v4().to_string(),
            correlation_id: String::new(),
            body: body.to_owned(),
            delay: None,
            trace: None,
        };
        dead_letters(&mut self.state.lock().unwrap(), role).push_back((Instant::now(), message));
    }
}

fn dead_letters(state: &mut State, role: QueueRole) -> &mut VecDeque<Waiting> {
    match role {
        QueueRole::Jobs => &mut state.dead_lettered_jobs,
        QueueRole::Tasks => &mut state.dead_lettered_tasks,
        QueueRole::Poison => &mut state.poison,
    }
}

fn shown((_, message): &Waiting) -> DeadLetter {
    DeadLetter {
        id: message.message_id.clone(),
        body: message.body.clone(),
        enqueued: None,
        delivery_count: 1,
        reason: None,
    }
}

/// A taken message is not in its queue until it is released; its lock token is its correlation id.
#[async_trait::async_trait]
impl DeadLetterQueues for Mailbox {
    fn dead_letter_name(&self, role: QueueRole) -> &str {
        match (self.path, role) {
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, QueueRole::Jobs) => {
                "jobs-poison"
            }
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, QueueRole::Tasks) => {
                "tasks-poison"
            }
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, QueueRole::Poison) => "poison",
            (ProcessingPath::ServiceBus, QueueRole::Jobs) => "jobs/$DeadLetterQueue",
            (ProcessingPath::ServiceBus, QueueRole::Tasks) => "tasks/$DeadLetterQueue",
            (ProcessingPath::ServiceBus, QueueRole::Poison) => "sb-poison",
        }
    }

    async fn count(&self, role: QueueRole) -> Result<u64, SendError> {
        self.probe(role).await?;
        Ok(dead_letters(&mut self.state.lock().unwrap(), role).len() as u64)
    }

    async fn peek(&self, role: QueueRole, at_most: usize) -> Result<Vec<DeadLetter>, SendError> {
        self.probe(role).await?;
        let mut state = self.state.lock().unwrap();
        Ok(dead_letters(&mut state, role).iter().take(at_most).map(shown).collect())
    }

    async fn take_some(
        &self,
        role: QueueRole,
        at_most: usize,
    ) -> Result<Vec<TakenMessage>, SendError> {
        self.probe(role).await?;
        let mut state = self.state.lock().unwrap();
        let queue = dead_letters(&mut state, role);
        let some = queue.drain(..at_most.min(queue.len()));
        Ok(some
            .map(|waiting| TakenMessage::new(shown(&waiting), waiting.1.correlation_id))
            .collect())
    }

    async fn complete(&self, role: QueueRole, _taken: &TakenMessage) -> Result<Settled, SendError> {
        self.probe(role).await?;
        Ok(Settled::Done)
    }

    async fn release(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError> {
        let message = OutgoingMessage {
            message_id: taken.message.id.clone(),
            correlation_id: taken.lock().to_owned(),
            body: taken.message.body.clone(),
            delay: None,
            trace: None,
        };
        dead_letters(&mut self.state.lock().unwrap(), role).push_front((Instant::now(), message));
        Ok(Settled::Done)
    }
}

fn queue(state: &mut State, role: QueueRole) -> &mut VecDeque<Waiting> {
    match role {
        QueueRole::Jobs => &mut state.jobs,
        QueueRole::Tasks => &mut state.tasks,
        QueueRole::Poison => &mut state.poison,
    }
}

#[async_trait::async_trait]
impl MessageSender for Mailbox {
    fn path(&self) -> ProcessingPath {
        self.path
    }

    fn queue_name(&self, role: QueueRole) -> &str {
        match role {
            QueueRole::Jobs => "jobs",
            QueueRole::Tasks => "tasks",
            QueueRole::Poison => "poison",
        }
    }

    fn max_body_bytes(&self) -> usize {
        48 * 1024
    }

    async fn batch_send_messages(
        &self,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport {
        let mut state = self.state.lock().unwrap();
        match &mut state.sends_left {
            Some(0) => state.down = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if state.down {
            let errors =
                vec![SendError::Unavailable { detail: "switched off by the test".to_owned() }];
            return BatchSendReport { errors, ..BatchSendReport::default() };
        }
        let now = Instant::now();
        let shows = |message: &OutgoingMessage| now + message.delay.unwrap_or_default();
        let (fit, oversize): (Vec<_>, Vec<_>) =
            messages.iter().partition(|message| message.body.len() <= self.max_body_bytes());
        let errors: Vec<SendError> = oversize
            .iter()
            .map(|message| SendError::Oversize {
                message_id: message.message_id.clone(),
                bytes: message.body.len(),
                limit: self.max_body_bytes(),
            })
            .collect();
        queue(&mut state, role)
            .extend(fit.iter().map(|message| (shows(message), (*message).clone())));
        BatchSendReport {
            success: errors.is_empty(),
            messages_sent: fit.len(),
            batch_count: 1,
            errors,
            ..BatchSendReport::default()
        }
    }

    async fn probe(&self, role: QueueRole) -> Result<Option<u64>, SendError> {
        let (down, hangs) = {
            let state = self.state.lock().unwrap();
            (state.down, state.hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        match down {
            true => Err(SendError::Unavailable { detail: "switched off by the test".to_owned() }),
            false => Ok(Some(self.count(role) as u64)),
        }
    }
}
