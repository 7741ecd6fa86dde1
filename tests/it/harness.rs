//! The test kit, and handlers of this app.

use lastlight_engine::{
    config::Timing,
    job::{Job, erased::Catalog},
};
pub(crate) use lastlight_testing::{
    app::{Answer, TestApp, quick, router_of},
    database::{database_settings, new_database_url, service},
    graph_job::GraphJob,
    mailbox::Mailbox,
    probe::Probe,
    waiting::{LIMIT, time_passes, until, until_idle, until_refused},
    worker::{TestWorker, with},
    workflows::Workflows,
};

/// The job types of this app.
pub(crate) fn catalog() -> Catalog {
    lastlight_app::app().into_engine().catalog()
}

/// Starts handlers with the job types of this app.
pub(crate) trait OfThisApp: Sized {
    async fn start() -> Self;

    /// And with the job type `probe`, whose tasks use this probe.
    async fn with_probe(probe: Probe, timing: Timing) -> Self;

    /// And with the job type `graph`.
    async fn with_graphs(job: GraphJob, timing: Timing) -> Self;

    /// And with one of the test.
    async fn with_job<J: Job>(timing: Timing) -> Self;
}

impl OfThisApp for TestApp {
    async fn start() -> Self {
        Self::with(catalog(), Timing::default()).await
    }

    async fn with_probe(probe: Probe, timing: Timing) -> Self {
        Self::with(probe.add_to(catalog()), timing).await
    }

    async fn with_graphs(job: GraphJob, timing: Timing) -> Self {
        Self::with(job.add_to(catalog()), timing).await
    }

    async fn with_job<J: Job>(timing: Timing) -> Self {
        Self::with(catalog().job::<J>(None), timing).await
    }
}
