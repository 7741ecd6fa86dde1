//! `hello_world`: n greetings, then n replies. The smallest job with a fan-out, a fan-in and
//! results that are passed from one stage to the next.

use lastlight::{TasksPerMessage, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// n greetings, then a reply to each: the smallest job with a fan-out and a fan-in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HelloWorld {
    /// Number of greetings, and number of replies.
    #[schemars(range(min = 1, max = 1_000_000))]
    n: u64,
    /// Name to greet.
    #[serde(default = "world")]
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Number of tasks per message; 1 if omitted.
    // It has no default: a submission without it keeps the job id that the Python app derives.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_per_message: Option<TasksPerMessage>,
}

fn world() -> String {
    "World".to_owned()
}

impl Job for HelloWorld {
    const NAME: &'static str = "hello_world";
    type Last = Reply;
}

impl HelloWorld {
    fn options(&self) -> StageOptions {
        StageOptions::default()
            .tasks_per_message(self.tasks_per_message.unwrap_or_default())
            .expected_tasks(self.n)
    }
}

/// The first stage.
#[derive(Debug)]
pub struct Greet;

/// The parameters of one greeting.
#[derive(Debug, Serialize, Deserialize)]
pub struct GreetingTask {
    task_index: String,
    task_number: u64,
    name: String,
    message: String,
}

/// A greeting.
#[derive(Debug, Serialize, Deserialize)]
pub struct Greeting {
    greeting: String,
    task_number: u64,
}

/// The summary of the first stage.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Greetings {
    greetings: u64,
}

impl Stage for Greet {
    const NAME: &'static str = "hello_world_greeting";
    type Job = HelloWorld;
    type Previous = Start;
    type Task = GreetingTask;
    type Output = Greeting;
    type Summary = Greetings;

    fn plan(context: PlanContext<Self>) -> Plan<GreetingTask> {
        let HelloWorld { n, name, .. } = context.job;
        Plan::of(0..n, move |task_number| {
            let task_index = format!("greet-{task_number}");
            let message = format!("Hello {name} from task {task_number}!");
            let task = GreetingTask {
                task_index: task_index.clone(),
                task_number,
                name: name.clone(),
                message,
            };
            (task_index, task)
        })
    }

    async fn run(_: TaskContext<Self>, task: GreetingTask) -> Result<Greeting, TaskError> {
        Ok(Greeting { greeting: task.message, task_number: task.task_number })
    }

    fn fold(summary: &mut Greetings, _: Greeting) {
        summary.greetings += 1;
    }

    fn options(job: &HelloWorld, _: usize) -> StageOptions {
        job.options()
    }
}

/// The second stage.
#[derive(Debug)]
pub struct Reply;

/// The parameters of one reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplyTask {
    task_index: String,
    task_number: u64,
}

/// A reply to a greeting.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplyText {
    reply: String,
    task_number: u64,
}

/// The summary of the second stage.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Replies {
    replies: u64,
}

impl Stage for Reply {
    const NAME: &'static str = "hello_world_reply";
    type Job = HelloWorld;
    type Previous = Greet;
    type Task = ReplyTask;
    type Output = ReplyText;
    type Summary = Replies;

    fn plan(context: PlanContext<Self>) -> Plan<ReplyTask> {
        Plan::of(0..context.job.n, |task_number| {
            let task_index = format!("reply-{task_number}");
            Planned::new(task_index.clone(), ReplyTask { task_index, task_number })
                .after(format!("greet-{task_number}"))
        })
    }

    async fn run(context: TaskContext<Self>, task: ReplyTask) -> Result<ReplyText, TaskError> {
        let Greeting { greeting, .. } = context.predecessor()?;
        Ok(ReplyText { reply: format!("Reply to \"{greeting}\""), task_number: task.task_number })
    }

    fn fold(summary: &mut Replies, _: ReplyText) {
        summary.replies += 1;
    }

    fn options(job: &HelloWorld, _: usize) -> StageOptions {
        job.options()
    }
}

/// Handlers that do the same work for `workflows/hello_world.yaml`.
pub mod handlers {
    use lastlight::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::{Greeting, ReplyText};

    /// How many greetings there are to be.
    #[derive(Debug, Deserialize)]
    pub struct Count {
        n: u64,
    }

    /// The numbers of the greetings.
    #[derive(Debug, Serialize, Deserialize)]
    pub struct Numbers {
        numbers: Vec<u64>,
    }

    /// Numbers the greetings: at most 100,000, since they are one result.
    ///
    /// # Errors
    /// There are too many, or none.
    pub async fn numbers(_: TaskContext, Count { n }: Count) -> Result<Numbers, TaskError> {
        if !(1..=100_000).contains(&n) {
            return Err(TaskError::permanent(format!("n must be from 1 to 100000, not {n}")));
        }
        Ok(Numbers { numbers: (0..n).collect() })
    }

    /// The parameters of one greeting.
    #[derive(Debug, Deserialize)]
    pub struct Greet {
        task_number: u64,
        name: String,
    }

    /// Greets.
    ///
    /// # Errors
    /// None.
    pub async fn greet(_: TaskContext, task: Greet) -> Result<Greeting, TaskError> {
        let Greet { task_number, name } = task;
        Ok(Greeting { greeting: format!("Hello {name} from task {task_number}!"), task_number })
    }

    /// The parameters of one reply.
    #[derive(Debug, Deserialize)]
    pub struct Reply {
        greeting: String,
        task_number: u64,
    }

    /// Replies.
    ///
    /// # Errors
    /// None.
    pub async fn reply(_: TaskContext, task: Reply) -> Result<ReplyText, TaskError> {
        let Reply { greeting, task_number } = task;
        Ok(ReplyText { reply: format!("Reply to \"{greeting}\""), task_number })
    }
}
