//! Preflight: a job that cannot work is rejected when it is submitted, with the arithmetic, instead
//! of failing later.

use std::time::Duration;

use serde::Serialize;

use super::{Controller, ControllerError, plan::LARGEST_STAGE};
use crate::{config::Timing, job::erased::StageSpec, store::ConnectionLimits};

/// Maximum size of a job's parameters as stored, in bytes. They are read for every stage.
const LARGEST_PARAMETERS: usize = 1024 * 1024;

/// A reason why a job cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreflightProblem {
    /// What was checked: `payload`, `tasks`, `duration` or `connections`.
    pub check: &'static str,
    /// The arithmetic, and what to change.
    pub problem: String,
}

impl std::fmt::Display for PreflightProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.check, self.problem)
    }
}

impl Controller {
    /// Checks a submission against the limits of the app, its host and its database.
    pub(super) async fn preflight(
        &self,
        stages: &[StageSpec],
        parameters: &str,
        time_limit: Duration,
    ) -> Result<(), ControllerError> {
        let timing = &self.0.timing;
        let mut problems = Vec::new();
        problems.extend(payload(parameters.len()));
        problems.extend(stages.iter().zip(1..).filter_map(|(spec, number)| tasks(spec, number)));
        problems.extend(
            stages.iter().zip(1..).filter_map(|(spec, number)| one_message(spec, number, timing)),
        );
        problems.extend(duration(stages, timing, time_limit));
        let limits = self.0.database.connection_limits().await?;
        problems.extend(connections(limits, timing.instances));
        if problems.is_empty() { Ok(()) } else { Err(ControllerError::CannotWork(problems)) }
    }
}

fn payload(bytes: usize) -> Option<PreflightProblem> {
    (bytes > LARGEST_PARAMETERS).then(|| PreflightProblem {
        check: "payload",
        problem: format!(
            "the parameters have {bytes} bytes as stored (6 bytes per character that is not ASCII); at most \
             {LARGEST_PARAMETERS} are allowed: put large data into storage and submit its address"
        ),
    })
}

fn tasks(spec: &StageSpec, number: u32) -> Option<PreflightProblem> {
    let expected = spec.options.expected_tasks.filter(|tasks| *tasks > LARGEST_STAGE)?;
    Some(PreflightProblem {
        check: "tasks",
        problem: format!(
            "stage {number} ({}) would have {expected} tasks; at most {LARGEST_STAGE} are allowed: submit {} jobs with a part \
             of the tasks each",
            spec.task_type,
            expected.div_ceil(LARGEST_STAGE)
        ),
    })
}

/// The host ends an invocation after its timeout, and one invocation processes a whole message.
fn one_message(spec: &StageSpec, number: u32, timing: &Timing) -> Option<PreflightProblem> {
    let usual = spec.options.usual_duration?;
    let tasks = u32::from(spec.options.tasks_per_message.get());
    let at_once = u32::try_from(timing.tasks_in_flight).unwrap_or(u32::MAX).max(1);
    let rounds = tasks.div_ceil(at_once);
    let takes = usual.saturating_mul(rounds);
    (takes > timing.task_timeout).then(|| PreflightProblem {
        check: "duration",
        problem: format!(
            "one message of stage {number} ({}) takes {tasks} tasks / {at_once} at once (LASTLIGHT_TASKS_IN_FLIGHT) = \
             {rounds} rounds x {} s = {} s; the host ends it after {} s (FUNCTION_TIMEOUT_MINUTES, functionTimeout): plan \
             smaller tasks, or fewer tasks per message",
            spec.task_type,
            usual.as_secs_f64(),
            takes.as_secs_f64(),
            timing.task_timeout.as_secs_f64()
        ),
    })
}

fn duration(
    stages: &[StageSpec],
    timing: &Timing,
    time_limit: Duration,
) -> Option<PreflightProblem> {
    let at_once = timing.tasks_in_flight as f64 * f64::from(timing.instances);
    let mut sums = Vec::new();
    let mut whole = 0.0;
    for (spec, number) in stages.iter().zip(1..) {
        if let (Some(tasks), Some(usual)) =
            (spec.options.expected_tasks, spec.options.usual_duration)
        {
            let seconds = (tasks as f64 / at_once).ceil() * usual.as_secs_f64();
            sums.push(format!("stage {number}: {tasks} tasks x {} s", usual.as_secs_f64()));
            whole += seconds;
        }
    }
    (whole > time_limit.as_secs_f64()).then(|| PreflightProblem {
        check: "duration",
        problem: format!(
            "{}; at {} tasks at once on {} instance(s) that takes {whole:.0} s; the job's time limit is {} s: split the job, \
             allow more instances, or raise LASTLIGHT_JOB_TIMEOUT_HOURS or the job type's own limit",
            sums.join(", "),
            timing.tasks_in_flight,
            timing.instances,
            time_limit.as_secs_f64()
        ),
    })
}

fn connections(limits: ConnectionLimits, instances: u32) -> Option<PreflightProblem> {
    let ConnectionLimits { pool, server, reserved } = limits;
    let wanted = u64::from(instances) * u64::from(pool);
    let offered = u64::from(server.saturating_sub(reserved));
    (wanted > offered).then(|| PreflightProblem {
        check: "connections",
        problem: format!(
            "{instances} instance(s) (WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT or LASTLIGHT_INSTANCES) x {pool} connections \
             (LASTLIGHT_DATABASE_CONNECTIONS) = {wanted}; the database server has {server} - {reserved} reserved = {offered}: \
             lower one of the two, or raise max_connections"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{job::StageOptions, model::TasksPerMessage};

    #[test]
    fn problems_show_their_arithmetic() {
        let timing = Timing {
            tasks_in_flight: 10,
            instances: 2,
            task_timeout: Duration::from_secs(60),
            ..Timing::default()
        };
        let options = StageOptions::default()
            .expected_tasks(2_500_000)
            .usual_duration(Duration::from_secs(10))
            .tasks_per_message(TasksPerMessage::try_from(100).unwrap());
        let spec = StageSpec::in_line("render", options);
        let said = |problem: Option<PreflightProblem>| problem.unwrap().to_string();
        assert!(
            said(tasks(&spec, 1))
                .contains("2500000 tasks; at most 1000000 are allowed: submit 3 jobs")
        );
        assert!(said(one_message(&spec, 1, &timing)).contains("100 tasks / 10 at once"));
        assert!(said(one_message(&spec, 1, &timing)).contains("= 10 rounds x 10 s = 100 s"));
        let limit = Duration::from_secs(3600);
        assert!(
            said(duration(&[spec], &timing, limit))
                .contains("takes 1250000 s; the job's time limit is 3600 s")
        );
        let limits = ConnectionLimits { pool: 8, server: 50, reserved: 3 };
        assert!(
            said(connections(limits, 10))
                .contains("= 80; the database server has 50 - 3 reserved = 47")
        );
        assert!(said(payload(2_000_000)).contains("2000000 bytes"));
    }

    #[test]
    fn values_at_the_limits_are_accepted() {
        let limits = ConnectionLimits { pool: 8, server: 43, reserved: 3 };
        assert_eq!(connections(limits, 5), None);
        let largest = StageOptions::default().expected_tasks(LARGEST_STAGE);
        assert_eq!(tasks(&StageSpec::in_line("t", largest), 1), None);
        assert_eq!(payload(LARGEST_PARAMETERS), None);
        let options =
            StageOptions::default().expected_tasks(512).usual_duration(Duration::from_secs(60));
        let minute = StageSpec::in_line("t", options);
        let timing = Timing { task_timeout: Duration::from_secs(60), ..Timing::default() };
        assert_eq!(one_message(&minute, 1, &timing), None);
        assert_eq!(duration(&[minute], &timing, Duration::from_secs(120)), None);
    }
}
