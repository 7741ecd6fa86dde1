//! What goes wrong on request: latency, throttling, unavailability, lost answers. The endpoints ask before and after
//! each request that sends; a seed makes a run repeatable.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What should go wrong, and how often. The default: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FaultPlan {
    /// Added to every request.
    pub latency: Duration,
    /// Messages a second; more is answered 429.
    pub credits_per_second: Option<u32>,
    /// Share of sends answered 429 without looking at them, 0 to 1.
    pub throttled: f64,
    /// Share of sends answered 503 without looking at them, 0 to 1.
    pub unavailable: f64,
    /// Share of sends that are stored and answered 500, 0 to 1.
    pub lost_answers: f64,
    /// Every send is refused with 503.
    pub down: bool,
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
        let random = fastrand::Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(State {
            plan: FaultPlan::default(),
            random,
            credits: 0.0,
            refilled: Instant::now(),
        })))
    }

    /// From now on.
    pub fn set(&self, plan: FaultPlan) {
        let mut state = self.lock();
        state.plan = plan;
        state.credits = plan.credits_per_second.map_or(0.0, f64::from);
        state.refilled = Instant::now();
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
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.plan.down {
            return Verdict::Refuse;
        }
        if let Some(rate) = state.plan.credits_per_second {
            let rate = f64::from(rate);
            let earned = state.refilled.elapsed().as_secs_f64() * rate;
            state.credits = (state.credits + earned).min(rate);
            state.refilled = Instant::now();
            let cost = messages as f64;
            if state.credits < cost {
                return Verdict::Throttle;
            }
            state.credits -= cost;
        }
        let dice = state.random.f64();
        let FaultPlan {
            throttled,
            unavailable,
            lost_answers,
            ..
        } = state.plan;
        if dice < throttled {
            Verdict::Throttle
        } else if dice < throttled + unavailable {
            Verdict::Refuse
        } else if dice < throttled + unavailable + lost_answers {
            Verdict::StoreAndLoseAnswer
        } else {
            Verdict::Go
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
