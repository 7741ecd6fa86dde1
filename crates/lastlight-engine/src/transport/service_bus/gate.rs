//! Rate control for all senders of the process. When one sender is throttled, the gate closes for
//! all: senders that back off individually keep the namespace throttled and lose batches. The gate
//! also limits the rate if the tier grants a number of credits per second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    credits_per_second: Option<u32>,
}

#[derive(Debug)]
struct State {
    closed_until: Option<Instant>,
    /// When the credits that were taken so far are earned.
    next_credit: Option<Instant>,
}

/// Credits that may be taken at once after an idle period: one batch.
const BURST: u32 = 100;

impl Gate {
    pub(super) fn new(credits_per_second: Option<u32>) -> Self {
        Self {
            state: Mutex::new(State { closed_until: None, next_credit: None }),
            credits_per_second,
        }
    }

    /// Waits until `messages` may be sent.
    pub(super) async fn pass(&self, messages: usize) {
        if let Some(turn) = self.take_turn(messages) {
            sleep_until(turn).await;
        }
        // The gate may have been closed repeatedly in the meantime.
        loop {
            let closed_until = self.lock().closed_until;
            match closed_until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Closes the gate for all senders for one to two seconds.
    pub(super) fn close(&self) {
        let until = Instant::now() + Duration::from_secs_f64(1.0 + fastrand::f64());
        let mut state = self.lock();
        if state.closed_until.is_none_or(|closed| closed < until) {
            state.closed_until = Some(until);
        }
    }

    fn take_turn(&self, messages: usize) -> Option<Instant> {
        let rate = self.credits_per_second?;
        let credit = Duration::from_secs(1) / rate;
        let cost = credit * u32::try_from(messages).unwrap_or(u32::MAX);
        let mut state = self.lock();
        let now = Instant::now();
        let earliest = now.checked_sub(credit * BURST).unwrap_or(now);
        let turn = state.next_credit.map_or(earliest, |next| next.max(earliest));
        state.next_credit = Some(turn + cost);
        // The turn comes when the credits are earned, before the messages are sent.
        Some(turn + cost)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_for_any_number_of_senders() {
        let gate = Gate::new(Some(1000));
        let began = Instant::now();
        futures_util::future::join_all((0..100).map(|_| gate.pass(100))).await;
        let seconds = began.elapsed().as_secs_f64();
        assert!((9.5..=10.5).contains(&seconds), "10,000 credits at 1,000/s took {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn one_throttled_sender_closes_the_gate_for_all() {
        let gate = Gate::new(None);
        gate.close();
        let began = Instant::now();
        gate.pass(1).await;
        assert!(began.elapsed() >= Duration::from_secs(1));
        let began = Instant::now();
        gate.pass(1).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
