//! `hello_world`: n greetings, then n replies. The smallest job with a fan-out, a fan-in and
//! results that are passed from one stage to the next. `sb_hello_world` is the same job, always
//! over Service Bus.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use lastlight::job::{
    CountFold, Fields, Fold, JobType, Plan, PlanContext, PlanError, StageSpec, Task,
    TaskDefinition, TaskError, to_json,
};
use lastlight::model::{ProcessingPath, Stage, TasksPerMessage};

const GREETING: &str = "hello_world_greeting";
const REPLY: &str = "hello_world_reply";

/// The job type, under either of its two names.
#[derive(Debug)]
pub struct HelloWorld {
    name: &'static str,
    path: Option<ProcessingPath>,
}

/// The parameters of a submission.
#[derive(Debug, Deserialize)]
pub struct Parameters {
    /// Number of greetings, and number of replies.
    n: u64,
    name: String,
    /// Number of tasks per message.
    #[serde(default)]
    tasks_per_message: TasksPerMessage,
}

#[derive(Debug, Serialize, Deserialize)]
struct GreetingTask {
    task_index: String,
    task_number: u64,
    name: String,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    greeting: String,
    task_number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReplyTask {
    task_index: String,
    task_number: u64,
}

#[derive(Debug, Serialize)]
struct Reply {
    reply: String,
    task_number: u64,
}

impl HelloWorld {
    /// `hello_world`: `use_service_bus` selects the path.
    pub fn over_either() -> Self {
        Self { name: "hello_world", path: None }
    }

    /// `sb_hello_world`.
    pub fn over_service_bus() -> Self {
        Self { name: "sb_hello_world", path: Some(ProcessingPath::ServiceBus) }
    }
}

#[async_trait]
impl JobType for HelloWorld {
    type Parameters = Parameters;

    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        match self.path {
            None => {
                "n greetings, then a reply to each: the smallest job with a fan-out and a fan-in."
            }
            Some(_) => "hello_world, always over Service Bus.",
        }
    }

    fn prescribed_path(&self) -> Option<ProcessingPath> {
        self.path
    }

    fn check(&self, fields: &mut Fields) {
        fields.integer("n", 1..=1_000_000);
        fields.describe("n", "Number of greetings, and number of replies.");
        fields.text_or("name", "World", 1..=100);
        fields.describe("name", "Name to greet.");
        // It has no default: a submission without it keeps the job id that the Python app derives.
        fields.optional_integer("tasks_per_message", 1..=u64::from(TasksPerMessage::LARGEST));
        fields.describe("tasks_per_message", "Number of tasks per message; 1 if omitted.");
    }

    fn stages(&self, parameters: &Parameters) -> Vec<StageSpec> {
        [GREETING, REPLY]
            .map(|task_type| {
                StageSpec::new(task_type)
                    .with_tasks_per_message(parameters.tasks_per_message)
                    .with_expected_tasks(parameters.n)
            })
            .into()
    }

    fn plan(&self, parameters: Parameters, context: PlanContext) -> Plan {
        let Parameters { n, name, .. } = parameters;
        let numbers = stream::iter(context.from..n);
        if context.stage == Stage::FIRST {
            numbers.map(move |number| greeting_task(number, &name)).boxed()
        } else {
            numbers.map(reply_task).boxed()
        }
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        match task.task_type {
            GREETING => {
                let GreetingTask { task_number, message, .. } = task.parameters()?;
                Ok(to_json(&Greeting { greeting: message, task_number })?)
            }
            REPLY => {
                let ReplyTask { task_number, .. } = task.parameters()?;
                let Greeting { greeting, .. } = task.predecessor()?;
                Ok(to_json(&Reply { reply: format!("Reply to \"{greeting}\""), task_number })?)
            }
            unknown => Err(TaskError::Permanent(format!(
                "{} has no task type {unknown:?}; it has {GREETING:?} and {REPLY:?}",
                self.name
            ))),
        }
    }

    fn fold(&self, stage: Stage) -> Box<dyn Fold> {
        Box::new(CountFold::new(if stage == Stage::FIRST { "greetings" } else { "replies" }))
    }
}

fn greeting_task(number: u64, name: &str) -> Result<TaskDefinition, PlanError> {
    let parameters = GreetingTask {
        task_index: format!("greet-{number}"),
        task_number: number,
        name: name.to_owned(),
        message: format!("Hello {name} from task {number}!"),
    };
    TaskDefinition::new(&parameters.task_index, &parameters)
}

fn reply_task(number: u64) -> Result<TaskDefinition, PlanError> {
    let parameters = ReplyTask { task_index: format!("reply-{number}"), task_number: number };
    TaskDefinition::new(&parameters.task_index, &parameters)?
        .with_predecessor(&format!("greet-{number}"))
}
