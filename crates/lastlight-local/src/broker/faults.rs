//! What goes wrong on request: latency, throttling, unavailability, lost answers; messages that
//! vanish, come several times, or come late. The endpoints ask before each request that costs
//! something; a seed makes a run repeatable: the n-th decision is the same in every run.

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

/// What should go wrong, and how often. The default: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FaultPlan {
    /// Added to every request.
    pub latency: Duration,
    /// Credits a second, one a message to send and one to receive; more is answered 429.
    pub credits_per_second: Option<u32>,
    /// Share of sends answered 429 without looking at them, 0 to 1.
    pub throttled: f64,
    /// Share of sends answered 503 without looking at them, 0 to 1.
    pub unavailable: f64,
    /// Share of sends that are stored but not answered so, 0 to 1.
    pub lost_answers: f64,
    /// What the client sees instead.
    pub lost_answer: LostAnswer,
    /// Every send is refused with 503.
    pub down: bool,
    /// Share of accepted messages that are never delivered, 0 to 1.
    pub dropped: f64,
    /// Share of accepted messages that are delivered several times, 0 to 1.
    pub doubled: f64,
    /// How often such a message is delivered at most; 2 at least.
    pub copies: u32,
    /// Share of deliveries that come late, 0 to 1. Each by a time of its own, so they change their
    /// order, too.
    pub late: f64,
    /// How late at most.
    pub late_by: Duration,
}

/// What a client sees of a send that was stored and whose answer was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LostAnswer {
    /// A 500, as from a gateway in between.
    #[default]
    ServerError,
    /// The connection ends without a byte of an answer.
    ClosedConnection,
}

/// A plan that may be changed while the endpoint runs. Clones are handles to the same plan.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    random: fastrand::Rng,
    credits: f64,
    refilled: Instant,
}

/// What becomes of one accepted message: how much later than asked for each of its deliveries is.
/// Empty: it vanishes.
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
    /// Nothing goes wrong yet; what will, follows the seed.
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

    /// Pays for `messages` from the plan's credits; whether there were enough. A receiver inside
    /// the process, which passes no endpoint, can pay here too.
    pub fn spend(&self, messages: usize) -> bool {
        self.lock().spend(messages)
    }

    /// Waits as long as a request takes.
    pub(super) async fn delay(&self) {
        let latency = self.lock().plan.latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    /// Decides about a send of `messages`.
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

    /// From now on decisions follow this seed.
    pub fn reseed(&self, seed: u64) {
        self.lock().random.seed(seed);
    }

    /// What becomes of `messages` accepted ones; `None` when nothing happens to any.
    pub(super) fn fates(&self, messages: usize) -> Option<Vec<Fate>> {
        let mut state = self.lock();
        let plan = state.plan;
        if plan.dropped <= 0.0 && plan.doubled <= 0.0 && plan.late <= 0.0 {
            return None;
        }
        Some((0..messages).map(|_| fate(&plan, &mut state.random)).collect())
    }

    /// The answer that stands for the lost one; `extensions` are the request's.
    pub(super) fn lose_answer(&self, extensions: &Extensions) -> Response {
        let wanted = self.lock().plan.lost_answer;
        if wanted == LostAnswer::ClosedConnection
            && let Some(ConnectInfo(cut)) = extensions.get::<ConnectInfo<Cut>>()
        {
            cut.now();
        }
        (StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost on request").into_response()
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
        // A batch that costs more than a second's credits waits for a full purse and leaves a debt.
        if self.credits < cost.min(rate) {
            return false;
        }
        self.credits -= cost;
        true
    }
}
