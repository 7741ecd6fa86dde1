//! One kit for tests, interleavings, the model's conformance and `lastlight chaos`: handlers with
//! their databases and queues, job types with faults, and the judgement of what became of a job.
//!
//! - For tests: [`app`], a handler in the test's process; [`described`], the check of its answers
//!   against its description; [`database`] and [`mailbox`], what it
//!   runs on; [`blobs`], containers of blobs; [`archive`], an archive and what can happen to its requests; [`worker`], a worker; [`probe`], its job type; [`workflows`], its workflow
//!   files; [`waiting`], how tests wait. They panic when something fails.
//! - For tests and chaos: [`work`], the parameters of the job type `chaos` ([`chaos_job`]);
//!   [`graph_work`], those of the job type `graph` ([`graph_job`]), and what must become of them;
//!   [`ledger`], the runs that its tasks record; [`recorder`], the rows and status changes;
//!   [`oracle`], which compares all of these. They return errors.
//!
//! The crate does not know the app, the local cloud or the command line. It is never a part of the
//! deployed binary.

#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod app;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod archive;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod blobs;
pub mod chaos_job;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod database;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod described;
pub mod graph_job;
pub mod graph_work;
pub mod ledger;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod mailbox;
pub mod oracle;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod probe;
pub mod recorder;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod waiting;
pub mod work;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod worker;
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests only")]
pub mod workflows;
