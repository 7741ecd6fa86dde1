//! A workflow as a job type.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use lastlight_api::{
    job_types::WorkflowInfo,
    schedules::{self, ScheduleRequest},
};
use lastlight_workflow::{
    Backoff as Growing, CatchUp, Kept, Kind, Node, Overlap, Schedule, Workflow,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    UNMADE, answers,
    decide::decide,
    plan::{Planner, evaluated, outputs_of},
    stages::{node_of, stages_of},
};
use crate::{
    builtin::{Refusal, Validator},
    job::{
        Backoff, Contexts, Growth, Keep, ParameterRules, PlanError, Retention, TaskError,
        TaskPolicy,
        erased::{
            Child, Decision, Definition, Fields, Fold, Handlers, JobType, NotAdmitted, PlanContext,
            RawPlan, StageSpec, Task, Upstream,
        },
    },
    model::{JobId, ProcessingPath, Stage},
    transport::blob_storage::BlobStorage,
};

/// The largest output of a node with one task that its summary repeats, in bytes.
const LARGEST_SUMMARY: usize = 8 * 1024;

/// A job type made of a workflow file.
pub(super) struct WorkflowType {
    workflow: Arc<Workflow>,
    rules: ParameterRules,
    stages: Vec<StageSpec>,
    validators: Vec<Validator>,
    handlers: Handlers,
    contexts: Contexts,
    blobs: Arc<BlobStorage>,
}

impl fmt::Debug for WorkflowType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow").field("name", &self.workflow.name()).finish_non_exhaustive()
    }
}

impl WorkflowType {
    /// # Errors
    /// The engine cannot run it, for the reason given.
    pub(super) fn new(
        workflow: Arc<Workflow>,
        handlers: Handlers,
        contexts: Contexts,
        blobs: Arc<BlobStorage>,
    ) -> Result<Self, String> {
        let schema = workflow
            .json_schema()
            .try_into()
            .map_err(|error| format!("the schema of its parameters is not valid: {error}"))?;
        let rules = ParameterRules::new(schema)?;
        let validator = |validator: &lastlight_workflow::Validator| {
            let mut fields = validator.fields.clone();
            fields.insert("type".to_owned(), Value::from(validator.kind.as_str()));
            Validator::deserialize(Value::Object(fields))
                .map_err(|error| format!("validator {:?}: {error}", validator.kind))
        };
        let validators =
            workflow.validators().iter().map(validator).collect::<Result<Vec<_>, _>>()?;
        let stages = stages_of(&workflow, &handlers);
        Ok(Self { workflow, rules, stages, validators, handlers, contexts, blobs })
    }

    fn node(&self, stage: Stage) -> Result<&Node, PlanError> {
        node_of(&self.workflow, stage)
            .ok_or_else(|| PlanError::new(format!("{} has no node {stage}", self.workflow.name())))
    }
}

#[async_trait]
impl JobType for WorkflowType {
    fn name(&self) -> &str {
        self.workflow.name()
    }

    fn description(&self) -> &str {
        self.workflow.description()
    }

    fn check(&self, fields: &mut Fields) {
        self.rules.check_plain(fields);
        fields.fill_in(|parameters| self.workflow.parameters().fill_in(parameters));
    }

    fn prescribed_path(&self) -> Option<ProcessingPath> {
        None
    }

    fn stages(&self, _parameters: &Map<String, Value>) -> Result<Vec<StageSpec>, PlanError> {
        Ok(self.stages.clone())
    }

    fn warnings(&self) -> Vec<String> {
        let known: Vec<&str> = self.handlers.names().collect();
        let missing = self.workflow.handlers().into_iter().filter(|name| !known.contains(name));
        missing
            .map(|name| format!("handler {name:?} is not in this app: a worker must have it"))
            .collect()
    }

    fn has_admission(&self) -> bool {
        !self.validators.is_empty()
    }

    async fn admit(&self, parameters: &Map<String, Value>) -> Result<(), NotAdmitted> {
        for validator in &self.validators {
            validator.check(parameters, &self.blobs).await.map_err(|refusal| match refusal {
                Refusal::Invalid { message } => NotAdmitted::Refused(message),
                Refusal::Unavailable { reason } => NotAdmitted::Unavailable(reason),
            })?;
        }
        Ok(())
    }

    fn plan(
        &self,
        parameters: &Map<String, Value>,
        context: PlanContext,
    ) -> Result<RawPlan, PlanError> {
        let planner = Planner {
            workflow: Arc::clone(&self.workflow),
            parameters: Arc::new(parameters.clone()),
            blobs: Arc::clone(&self.blobs),
        };
        Ok(planner.plan(context))
    }

    fn task_policy(&self, task_type: &str) -> TaskPolicy {
        let Some(node) = self.workflow.node_named(task_type) else { return TaskPolicy::default() };
        let policy = node.policy();
        let Some(retry) = policy.retry else {
            return TaskPolicy { timeout: policy.timeout, ..TaskPolicy::default() };
        };
        let largest = match retry.backoff {
            Growing::Exponential | Growing::Linear => retry.max_delay,
            Growing::Fixed => retry.initial_delay,
        };
        TaskPolicy {
            max_attempts: Some(u16::from(retry.max_attempts)),
            backoff: Some(Backoff { first: retry.initial_delay, largest }),
            timeout: policy.timeout,
        }
    }

    fn growth(&self, task_type: &str) -> Growth {
        let policy = self.workflow.node_named(task_type).map(Node::policy);
        match policy.and_then(|policy| policy.retry).map(|retry| retry.backoff) {
            Some(Growing::Linear) => Growth::Linear,
            _ => Growth::Doubled,
        }
    }

    fn time_limit(&self, _parameters: &Map<String, Value>) -> Result<Option<Duration>, PlanError> {
        Ok(None)
    }

    fn retention(&self) -> Retention {
        let keep = |kept| match kept {
            Kept::Days(days) => Keep::Days(days),
            Kept::Forever => Keep::Forever,
        };
        Retention {
            completed: self.workflow.completed_kept().map(keep),
            failed: self.workflow.failed_kept().map(keep),
        }
    }

    fn schedules(&self) -> Vec<ScheduleRequest> {
        let request = |schedule: &Schedule| ScheduleRequest {
            name: format!("{}.{}", self.workflow.name(), schedule.name),
            job_type: self.workflow.name().to_owned(),
            parameters: schedule.parameters.clone(),
            cron: schedule.cron.clone(),
            time_zone: Some(schedule.time_zone.clone()),
            jitter_seconds: Some(schedule.jitter_seconds),
            overlap: Some(match schedule.overlap {
                Overlap::Skip => schedules::Overlap::Skip,
                Overlap::Queue => schedules::Overlap::Queue,
                Overlap::Allow => schedules::Overlap::Allow,
            }),
            catch_up: Some(match schedule.catch_up {
                CatchUp::None => schedules::CatchUp::None,
                CatchUp::Last => schedules::CatchUp::Last,
                CatchUp::All => schedules::CatchUp::All,
            }),
            catch_up_limit: Some(schedule.catch_up_limit),
        };
        self.workflow.schedules().iter().map(request).collect()
    }

    async fn run(&self, task: Task) -> Result<Box<RawValue>, TaskError> {
        let node = self.workflow.node_named(&task.task_type);
        let Some(handler) = node.and_then(Node::handler) else {
            return Err(TaskError::permanent(format!(
                "{} has no node {:?} with a handler",
                self.workflow.name(),
                task.task_type
            )));
        };
        if let Some(reason) = self.unfit_for_worker(&task.parameters) {
            return Err(TaskError::permanent(reason));
        }
        let Some(answering) = self.handlers.call(handler, task.attempt, &task.parameters) else {
            let known: Vec<&str> = self.handlers.names().collect();
            return Err(TaskError::permanent(format!(
                "this app has no handler {handler:?}; it has {}",
                known.join(", ")
            )));
        };
        answers::result_of(answering.await?)
    }

    /// Parameters that could not be made are the reason for that.
    fn unfit_for_worker(&self, parameters: &RawValue) -> Option<String> {
        if !parameters.get().starts_with("{\"$error\"") {
            return None;
        }
        let mut parameters: Map<String, Value> = serde_json::from_str(parameters.get()).ok()?;
        // Parameters that could be made have those of the run, too.
        match (parameters.len(), parameters.remove(UNMADE)) {
            (1, Some(Value::String(reason))) => Some(reason),
            _ => None,
        }
    }

    fn result_of_worker(
        &self,
        _task_type: &str,
        answered: Box<RawValue>,
    ) -> Result<Box<RawValue>, TaskError> {
        answers::result_of(answered)
    }

    fn fold(
        &self,
        _parameters: &Map<String, Value>,
        stage: Stage,
    ) -> Result<Box<dyn Fold>, PlanError> {
        let has_one_task = matches!(self.node(stage)?.kind, Kind::Task(_) | Kind::Finalize(_));
        Ok(Box::new(Output { keeps: has_one_task, output: None }))
    }

    async fn decide(
        &self,
        job_id: &JobId,
        parameters: &Map<String, Value>,
        stage: Stage,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Decision, PlanError> {
        decide(&self.workflow, self.node(stage)?, parameters, job_id, upstream).await
    }

    async fn runs(
        &self,
        job_id: &JobId,
        parameters: &Map<String, Value>,
        stage: Stage,
        upstream: Arc<dyn Upstream>,
    ) -> Result<bool, PlanError> {
        let node = self.node(stage)?;
        if node.when.is_none() {
            return Ok(true);
        }
        let outputs = outputs_of(node, &*upstream).await?;
        // Where that is an error, the node has a task that fails with it.
        Ok(evaluated(&self.workflow, node, parameters, &outputs, job_id).runs().unwrap_or(true))
    }

    async fn child(
        &self,
        job_id: &JobId,
        parameters: &Map<String, Value>,
        stage: Stage,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Child, PlanError> {
        let node = self.node(stage)?;
        let Kind::Job(job) = &node.kind else {
            return Err(PlanError::new(format!("node {:?} submits no job", node.name)));
        };
        let outputs = outputs_of(node, &*upstream).await?;
        let evaluation = evaluated(&self.workflow, node, parameters, &outputs, job_id);
        if !evaluation.runs()? {
            return Ok(Child::Skipped);
        }
        let parameters = evaluation.job_parameters()?;
        Ok(Child::Job { job_type: job.job_type.clone(), parameters })
    }

    fn definition(&self) -> Option<Definition<'_>> {
        Some(Definition {
            id: self.workflow.content_id(),
            version: i32::try_from(self.workflow.version()).ok(),
            source: self.workflow.source(),
        })
    }

    fn workflow(&self) -> Option<WorkflowInfo> {
        Some(WorkflowInfo {
            version: self.workflow.version(),
            definition_id: self.workflow.content_id().to_owned(),
            reversed_by: self.workflow.reversed_by().map(str::to_owned),
            reverses: self.workflow.reverses().to_vec(),
            graph: serde_json::to_value(self.workflow.graph()).unwrap_or_default(),
        })
    }

    fn contexts(&self) -> Contexts {
        self.contexts.clone()
    }
}

/// Keeps the output of a node with one task, if it is small, as the summary.
struct Output {
    keeps: bool,
    output: Option<Box<RawValue>>,
}

impl Fold for Output {
    fn add(&mut self, result: &RawValue) -> Result<(), String> {
        if self.keeps && result.get().len() <= LARGEST_SUMMARY {
            self.output = Some(result.to_owned());
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<RawValue>, String> {
        match self.output {
            Some(output) => Ok(output),
            None => RawValue::from_string("null".to_owned()).map_err(|error| error.to_string()),
        }
    }
}
