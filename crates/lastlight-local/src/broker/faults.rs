//! Injected faults: latency, throttling, unavailability and lost answers; messages that are lost,
//! duplicated or late. The endpoints ask for a decision before each request that costs credits. A
//! seed makes a run repeatable: the n-th decision is the same in every run.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, StatusCode},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use super::connection::Cut;

/// The faults to inject, and their rates. The default is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FaultPlan {
    /// Latency added to every request.
    pub latency: Duration,
    /// Credits per second: sending costs one per message, and so does receiving. A request beyond
    /// them is answered 429.
    pub credits_per_second: Option<u32>,
    /// Share of sends that are answered 429 and not stored, 0 to 1.
    pub throttled: f64,
    /// Share of sends that are answered 503 and not stored, 0 to 1.
    pub unavailable: f64,
    /// Share of sends that are stored but whose answer is lost, 0 to 1.
    pub lost_answers: f64,
    /// What the client sees instead of a lost answer.
    pub lost_answer: LostAnswer,
    /// Every send is answered 503.
    pub down: bool,
    /// Share of accepted messages that are never delivered, 0 to 1.
    pub dropped: f64,
    /// Share of accepted messages that are delivered several times, 0 to 1.
    pub doubled: f64,
    /// Maximum number of deliveries of such a message; at least 2.
    pub copies: u32,
    /// Share of deliveries that are late, 0 to 1. Each delay is random, so the order changes as
    /// well.
    pub late: f64,
    /// Maximum delay of a late delivery.
    pub late_by: Duration,
}

/// What the client sees after a send that was stored and whose answer was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LostAnswer {
    /// Status 500, as from a gateway.
    #[default]
    ServerError,
    /// The connection closes without an answer.
    ClosedConnection,
}

/// A plan that can be changed while the endpoint runs. Clones share the same plan.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    random: fastrand::Rng,
    credits: f64,
    refilled: Instant,
}

/// The delays of the deliveries of one accepted message, one per delivery. Empty if the message is
/// lost.
pub(super) type Fate = Vec<Duration>;

/// What an endpoint should do with a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Throttle,
    Refuse,
    StoreAndLoseAnswer,
}

impl Default for Faults {
    fn default() -> Self {
        Self::with_seed(0)
    }
}

impl Faults {
    /// Creates a plan without faults; later random decisions use the seed.
    pub fn with_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan: FaultPlan::default(),
            random: fastrand::Rng::with_seed(seed),
            credits: 0.0,
            refilled: Instant::now(),
        })))
    }

    pub fn set(&self, plan: FaultPlan) {
        let mut state = self.lock();
        state.plan = plan;
        state.credits = plan.credits_per_second.map_or(0.0, f64::from);
        state.refilled = Instant::now();
    }

    /// Takes one credit per message; returns whether there were enough. A receiver in this process,
    /// which uses no endpoint, can call it as well.
    pub fn spend(&self, messages: usize) -> bool {
        self.lock().spend(messages)
    }

    /// Waits for the latency of the plan.
    pub(super) async fn delay(&self) {
        let latency = self.lock().plan.latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    /// Decides what happens to a send of `messages` messages.
    pub(super) fn judge(&self, messages: usize) -> Verdict {
        let mut state = self.lock();
        let FaultPlan { throttled, unavailable, lost_answers, down, .. } = state.plan;
        if down {
            return Verdict::Refuse;
        }
        let dice = state.random.f64();
        if dice < throttled {
            Verdict::Throttle
        } else if dice < throttled + unavailable {
            Verdict::Refuse
        } else if !state.spend(messages) {
            Verdict::Throttle
        } else if dice < throttled + unavailable + lost_answers {
            Verdict::StoreAndLoseAnswer
        } else {
            Verdict::Go
        }
    }

    /// Restarts the random decisions from this seed.
    pub fn reseed(&self, seed: u64) {
        self.lock().random.seed(seed);
    }

    /// Decides the deliveries of `messages` accepted messages; `None` if the plan changes none.
    pub(super) fn fates(&self, messages: usize) -> Option<Vec<Fate>> {
        let mut state = self.lock();
        let plan = state.plan;
        if plan.dropped <= 0.0 && plan.doubled <= 0.0 && plan.late <= 0.0 {
            return None;
        }
        Some((0..messages).map(|_| fate(&plan, &mut state.random)).collect())
    }

    /// The answer in place of a lost one; `extensions` are those of the request.
    pub(super) fn lose_answer(&self, extensions: &Extensions) -> Response {
        let wanted = self.lock().plan.lost_answer;
        if wanted == LostAnswer::ClosedConnection
            && let Some(ConnectInfo(cut)) = extensions.get::<ConnectInfo<Cut>>()
        {
            cut.now();
        }
        (StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost by an injected fault")
            .into_response()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fate(plan: &FaultPlan, random: &mut fastrand::Rng) -> Fate {
    if random.f64() < plan.dropped {
        return Vec::new();
    }
    let copies = if random.f64() < plan.doubled { random.u32(2..=plan.copies.max(2)) } else { 1 };
    let delays = (0..copies).map(|_| {
        if random.f64() < plan.late { plan.late_by.mul_f64(random.f64()) } else { Duration::ZERO }
    });
    delays.collect()
}

impl State {
    fn spend(&mut self, messages: usize) -> bool {
        let Some(rate) = self.plan.credits_per_second.map(f64::from) else {
            return true;
        };
        let earned = self.refilled.elapsed().as_secs_f64() * rate;
        self.credits = (self.credits + earned).min(rate);
        self.refilled = Instant::now();
        let cost = messages as f64;
        // A batch that costs more than the credits of one second needs the full credits, and makes
        // the balance negative.
        if self.credits < cost.min(rate) {
            return false;
        }
        self.credits -= cost;
        true
    }
}
