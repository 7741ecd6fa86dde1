//! The invariants of every state, and the landmarks that some states must reach, so that no
//! invariant holds only because nothing happens.

use lastlight_engine::model::{JobStatus, StageOutcome, TaskStatus};
use stateright::Property;

use crate::{
    actions::{Protocol, Sizes},
    graphs::{Graph, Kind},
    mutations::Mutation,
    state::{Batch, Stage, State, Task},
};

/// (a) No work is lost.
pub(crate) const WHOLE_PLAN: &str = "a planned stage has every task of its plan";
pub(crate) const WHOLE_JOB: &str = "a completed job has every outcome";
pub(crate) const UNSENT_OR_SENT: &str = "a due message is unsent or was sent";
pub(crate) const SENT_IF_MARKED: &str = "a message marked as sent was sent";
pub(crate) const READY: &str = "a task of workers is ready exactly while it waits";
pub(crate) const NO_MESSAGE: &str = "no message is sent for a task of workers";
/// (b) No work is done twice.
pub(crate) const ONE_OUTCOME: &str = "a task has one outcome";
pub(crate) const HOLDER_DECIDES: &str = "only the attempt that holds a task decides it";
pub(crate) const GIVEN_ONCE: &str = "attempts that run at the same time have different numbers";
pub(crate) const LEGAL: &str = "a status changes only by legal transitions";
/// (c) Stages come one after the other.
pub(crate) const ONE_ADVANCE: &str = "a stage is advanced once";
pub(crate) const IN_ORDER: &str = "a stage begins after every outcome of the previous one";
pub(crate) const JUDGED: &str = "a stage is advanced by its counters";
pub(crate) const STARTS_ONCE: &str = "a stage of a graph starts once";
pub(crate) const NEEDS: &str = "a stage runs only after what it needs has completed";
pub(crate) const SKIPPED: &str = "a stage is skipped only if it cannot run";
pub(crate) const ONE_DECISION: &str = "a gate has one decision";
pub(crate) const DECIDED_IN_TIME: &str = "a gate is decided only while it waits";
pub(crate) const LAST: &str = "a job that ended early is finalized after all of its work";
/// (d)
pub(crate) const RECOUNT: &str = "counters equal a recount";
/// (e) Every job finishes, and stays finished.
pub(crate) const ENDS: &str = "the sweep finishes every job";
pub(crate) const FINAL: &str = "a terminal status is final";
pub(crate) const NOTHING_LATE: &str = "no statement that began after the end counts";

pub(crate) const PLANNER_FAILS: &str = "only the planner that holds the lease fails the plan";

pub(crate) const CLOSED: &str = "a closed stage has no open task";

/// All properties, and the landmarks at these sizes.
pub(crate) fn all(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let mut properties = invariants();
    properties.extend(landmarks(protocol));
    properties
}

fn invariants() -> Vec<Property<Protocol>> {
    vec![
        Property::always(WHOLE_PLAN, |protocol: &Protocol, state: &State| {
            stages(state).all(|(number, stage)| {
                !stage.planned
                    || stage.unmet
                    || stage.plan_failed
                    || stage.written() == protocol.rules.tasks(number)
            })
        }),
        Property::always(WHOLE_JOB, |protocol: &Protocol, state: &State| {
            status(state) != Some(JobStatus::Completed)
                || stages(state).count() == usize::from(protocol.rules.stages)
                    && stages(state).all(|(number, stage)| match stage.outcome {
                        Some(StageOutcome::Skipped | StageOutcome::Rejected) => {
                            stage.written() == 0
                        }
                        Some(StageOutcome::Failed) => {
                            protocol.rules.graph.is_some_and(|graph| !graph.matters(number))
                        }
                        _ => {
                            is_whole(protocol, number, stage)
                                && stage.left_out() == 0
                                && protocol.rules.tolerates(stage.count(TaskStatus::Failed))
                        }
                    })
        }),
        Property::always(UNSENT_OR_SENT, |protocol: &Protocol, state: &State| {
            let Some(job) = state.database.job else {
                return true;
            };
            let is_current = |number| match &protocol.rules.graph {
                Some(_) => true,
                None => number == job.stage,
            };
            job.status.is_terminal()
                || job.paused
                || stages(state).filter(|(number, _)| is_current(*number)).all(|(number, stage)| {
                    !stage.is_to_be_planned(&protocol.rules, number)
                        || stage.unsent
                        || state.queues.job_message[usize::from(number)]
                })
        }),
        Property::always(SENT_IF_MARKED, |protocol: &Protocol, state: &State| {
            stages(state).all(|(number, stage)| {
                let messages = state.queues.task_message[usize::from(number)];
                (0..).zip(stage.batches).all(|(batch, row)| {
                    row != Some(Batch::Sent)
                        || protocol.rules.is_worked(number)
                        || protocol
                            .rules
                            .tasks_of(number, batch)
                            .all(|task| messages[usize::from(task)])
                })
            })
        }),
        Property::always(READY, |protocol: &Protocol, state: &State| {
            stages(state).all(|(number, stage)| {
                let is_worked = protocol.rules.is_worked(number);
                let waits =
                    |task: &Task| matches!(task.status, TaskStatus::Queued | TaskStatus::Retrying);
                stage.tasks().all(|(_, task)| {
                    let is_held_ready = task.ready || task.claimed;
                    let is_to_be = is_worked && waits(task);
                    // A claim that ends after its job leaves the task to be skipped.
                    let agrees =
                        is_held_ready == is_to_be || is_to_be && state.database.is_finished();
                    agrees && !(task.ready && task.claimed)
                })
            })
        }),
        Property::always(NO_MESSAGE, |protocol: &Protocol, state: &State| {
            (0..).zip(state.queues.task_message).all(|(number, messages)| {
                !protocol.rules.is_worked(number) || messages.iter().all(|sent| !sent)
            })
        }),
        Property::always(ONE_OUTCOME, |_, state: &State| {
            tasks(state).all(|task| task.outcomes == u8::from(task.status.is_terminal()))
        }),
        Property::always(HOLDER_DECIDES, |_, state: &State| {
            tasks(state).all(|task| {
                let decided = matches!(task.status, TaskStatus::Completed | TaskStatus::Failed);
                !decided || task.decided_by == task.attempt
            })
        }),
        Property::always(GIVEN_ONCE, |protocol: &Protocol, state: &State| {
            protocol.rules.lacks(Mutation::AttemptCountedAtItsEnd)
                || !state.database.seen.given_twice
        }),
        Property::always(LEGAL, |_, state: &State| !state.database.seen.illegal),
        Property::always(ONE_ADVANCE, |_, state: &State| {
            stages(state).all(|(_, stage)| stage.advances <= 1)
        }),
        Property::always(IN_ORDER, |protocol: &Protocol, state: &State| {
            stages(state).all(|(number, _)| {
                number == 0
                    || protocol.rules.graph.is_some()
                    || state
                        .database
                        .stage(number - 1)
                        .is_some_and(|before| is_whole(protocol, number - 1, before))
            })
        }),
        Property::always(JUDGED, |_, state: &State| !state.database.seen.misjudged),
        Property::always(RECOUNT, |_, state: &State| {
            let is_right = |stage: &Stage| {
                (stage.total, stage.completed, stage.failed, stage.skipped)
                    == (
                        stage.written(),
                        stage.count(TaskStatus::Completed),
                        stage.count(TaskStatus::Failed),
                        stage.count(TaskStatus::Skipped),
                    )
            };
            state.database.seen.drifted || stages(state).all(|(_, stage)| is_right(stage))
        }),
        Property::always(ENDS, |protocol: &Protocol, state: &State| {
            protocol.recovered.ends(&protocol.rules, &state.database)
        }),
        Property::always(FINAL, |_, state: &State| {
            let ends_as = state.database.job.and_then(|job| job.ends_as);
            let runs = status(state).is_some_and(|status| !status.is_terminal());
            state
                .database
                .seen
                .ended
                .is_none_or(|ended| status(state) == Some(ended) || runs && ends_as == Some(ended))
        }),
        Property::always(NOTHING_LATE, |_, state: &State| !state.database.seen.counted_late),
        // A partial retry violates this for a while.
        Property::always(CLOSED, |protocol: &Protocol, state: &State| {
            protocol.sizes.outside.retries > 0
                || stages(state).all(|(_, stage)| {
                    !stage.advanced || stage.tasks().all(|(_, task)| task.status.is_terminal())
                })
        }),
        Property::always(STARTS_ONCE, |_, state: &State| {
            stages(state).all(|(_, stage)| stage.starts <= 1)
        }),
        Property::always(NEEDS, |protocol: &Protocol, state: &State| {
            stages(state).all(|(number, stage)| {
                let runs = stage.lease_owner.is_some() || stage.written() > 0;
                !runs || protocol.rules.graph.is_none_or(|graph| graph.lets_run(state, number))
            })
        }),
        Property::always(SKIPPED, |protocol: &Protocol, state: &State| {
            stages(state).all(|(number, stage)| {
                stage.outcome != Some(StageOutcome::Skipped)
                    || protocol.rules.graph.is_none_or(|graph| graph.keeps_out(state, number))
            })
        }),
        Property::always(LAST, |protocol: &Protocol, state: &State| {
            let finalizes = state.database.is_open()
                && state.database.job.is_some_and(|job| job.ends_as.is_some());
            let finalize = protocol.rules.graph.and_then(|graph| graph.finalize);
            !finalizes
                || stages(state).filter(|(number, _)| Some(*number) != finalize).all(
                    |(_, stage)| {
                        stage.advanced && stage.tasks().all(|(_, task)| task.status.is_terminal())
                    },
                )
        }),
        Property::always(ONE_DECISION, |_, state: &State| !state.database.seen.decided_twice),
        Property::always(DECIDED_IN_TIME, |_, state: &State| {
            stages(state).all(|(_, stage)| stage.decision.is_none() || stage.waits_for == 0)
        }),
        Property::always(PLANNER_FAILS, |_, state: &State| !state.database.seen.failed_by_stranger),
    ]
}

/// The landmarks that a search must reach; without them its invariants prove little.
fn landmarks(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let Sizes { planners, straddling, outside, .. } = protocol.sizes;
    let plan = protocol.rules.plan;
    let has_tasks = plan.iter().any(|tasks| *tasks > 0);
    let has_chunks = plan.iter().any(|tasks| *tasks > protocol.rules.batch);
    let mut landmarks = vec![Property::sometimes("a job completes", |_, state: &State| {
        status(state) == Some(JobStatus::Completed)
    })];
    if protocol.sizes.advancers > 1 {
        landmarks.push(Property::sometimes(
            "two actors see the same stage end",
            |_, state: &State| {
                let [first, second, ..] = state.handlers.advancers;
                first.is_some() && first == second
            },
        ));
    }
    if has_tasks {
        landmarks.extend([
            Property::sometimes("a stage ends with a failed task", |_, state: &State| {
                stages(state).any(|(_, stage)| stage.advanced && stage.failed > 0)
            }),
            Property::sometimes("an attempt runs after the outcome", |_, state: &State| {
                attempts(state).any(|(row, running)| row.status.is_terminal() && running != 0)
            }),
            Property::sometimes("a batch is unsent again", |protocol: &Protocol, state: &State| {
                // Of workers alone there is none.
                let worked = protocol.rules.workers.count_ones() as u8;
                worked == protocol.rules.stages
                    || stages(state).any(|(number, stage)| {
                        let messages = state.queues.task_message[usize::from(number)];
                        let is_sent = |batch| {
                            protocol
                                .rules
                                .tasks_of(number, batch)
                                .all(|task| messages[usize::from(task)])
                        };
                        stage.planned
                            && (0..)
                                .zip(stage.batches)
                                .any(|(batch, row)| row == Some(Batch::Unsent) && is_sent(batch))
                    })
            }),
        ]);
    }
    if has_tasks && protocol.rules.max_attempts > 1 {
        landmarks.extend([
            Property::sometimes("an attempt runs after losing its task", |_, state: &State| {
                attempts(state).any(|(row, running)| {
                    row.attempt > 1 && running & 1 != 0 && !row.status.is_terminal()
                })
            }),
            Property::sometimes("a task waits for its next attempt", |_, state: &State| {
                tasks(state).any(|task| task.status == TaskStatus::Retrying)
            }),
        ]);
    }
    if has_chunks && planners > 1 {
        landmarks.push(Property::sometimes(
            "a planner continues where another stopped",
            |_, state: &State| {
                let mut planners = state.handlers.planners.iter().flatten();
                let first = planners.next();
                first.is_some_and(|first| {
                    planners.any(|other| other.stage == first.stage && other.cursor != first.cursor)
                })
            },
        ));
    }
    if outside.deferrals > 0 {
        landmarks.push(Property::sometimes(
            "a deferred task waits for its new message",
            |_, state: &State| {
                tasks(state).any(|task| task.deferred && task.status == TaskStatus::Queued)
            },
        ));
        landmarks.push(Property::sometimes("a retry is deferred", |_, state: &State| {
            tasks(state).any(|task| task.deferred && task.status == TaskStatus::Retrying)
        }));
    }
    if outside.cancels > 0 {
        landmarks.push(Property::sometimes("a job is cancelled", |_, state: &State| {
            status(state) == Some(JobStatus::Cancelled)
        }));
    }
    if outside.cancels + outside.failures > 0 && straddling {
        landmarks
            .push(Property::sometimes("a statement runs at the job's end", |_, state: &State| {
                state.handlers.straddler.is_some() && state.database.is_finished()
            }));
    }
    if outside.pauses > 0 {
        landmarks.push(Property::sometimes("a job is paused", |_, state: &State| {
            state.database.job.is_some_and(|job| job.paused)
        }));
    }
    if outside.retries > 0 && has_tasks {
        landmarks.push(Property::sometimes("a job completes after a retry", |_, state: &State| {
            status(state) == Some(JobStatus::Completed)
                && tasks(state).any(|task| task.forgiven > 0)
        }));
        landmarks.push(Property::sometimes("a retry is interrupted", |_, state: &State| {
            state.database.is_finished()
                && stages(state).any(|(_, stage)| stage.advanced && !stage.counters_add_up())
        }));
    }
    if let Some(graph) = &protocol.rules.graph {
        landmarks.extend(landmarks_of(graph));
        if graph.finalize.is_some() && outside.cancels > 0 {
            landmarks.push(Property::sometimes(
                "a cancelled job is finalized",
                |_, state: &State| {
                    state.database.job.is_some_and(|job| job.ends_as == Some(job.status))
                },
            ));
        }
    }
    if outside.drifts > 0 {
        landmarks.push(Property::sometimes("a drifted counter is repaired", |_, state: &State| {
            state.database.seen.drifted && status(state) == Some(JobStatus::Completed)
        }));
    }
    landmarks
}

fn landmarks_of(graph: &Graph) -> Vec<Property<Protocol>> {
    let mut landmarks = Vec::new();
    let joins = |bits: &u8| bits.count_ones() > 1;
    if graph.needs.iter().zip(graph.follows).any(|(needs, follows)| joins(&(needs | follows))) {
        landmarks.push(Property::sometimes(
            "two dependencies of a stage end at the same time",
            |protocol: &Protocol, state: &State| {
                let [first, second, ..] = state.handlers.advancers;
                let dependents = |stage| {
                    let graph = protocol.rules.graph.as_ref();
                    graph.into_iter().flat_map(move |graph| graph.dependents(stage))
                };
                first.zip(second).is_some_and(|(first, second)| {
                    first.stage != second.stage
                        && dependents(first.stage)
                            .any(|one| dependents(second.stage).any(|other| one == other))
                })
            },
        ));
    }
    if graph.needs.iter().any(|needs| *needs > 0) {
        landmarks.push(Property::sometimes("a stage is skipped", |_, state: &State| {
            stages(state).any(|(_, stage)| stage.outcome == Some(StageOutcome::Skipped))
        }));
    }
    if graph.kinds.contains(&Kind::Gate) {
        landmarks.push(Property::sometimes("a gate is rejected", |_, state: &State| {
            stages(state).any(|(_, stage)| stage.outcome == Some(StageOutcome::Rejected))
        }));
    }
    landmarks
}

fn attempts(state: &State) -> impl Iterator<Item = (&Task, u8)> {
    stages(state).flat_map(|(number, stage)| {
        let running = &state.handlers.attempts[usize::from(number)];
        stage.tasks().map(|(task, row)| (row, running[usize::from(task)]))
    })
}

fn status(state: &State) -> Option<JobStatus> {
    Some(state.database.job?.status)
}

fn stages(state: &State) -> impl Iterator<Item = (u8, &Stage)> {
    state.database.stages()
}

fn tasks(state: &State) -> impl Iterator<Item = &Task> {
    stages(state).flat_map(|(_, stage)| stage.tasks().map(|(_, task)| task))
}

/// Whether the stage is planned and every task of its plan has its outcome.
fn is_whole(protocol: &Protocol, number: u8, stage: &Stage) -> bool {
    stage.planned
        && stage.written() == protocol.rules.tasks(number)
        && stage.tasks().all(|(_, task)| task.status.is_terminal())
}
