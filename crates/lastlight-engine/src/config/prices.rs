//! The prices of messages, for the comparison of the two paths.

use super::{Env, reference};

/// The prices of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// Three letters, as in ISO 4217.
    pub currency: String,
    /// The price of 10,000 operations on a Storage Queue.
    pub storage_per_10_000: f64,
    /// The price of 1,000,000 operations on Service Bus.
    pub service_bus_per_million: f64,
}

/// Assumed to be the public list prices of November 2026; not verified. Check them against your
/// contract.
impl Prices {
    /// The currency of the default prices.
    pub const CURRENCY: &'static str = "USD";
    /// Storage Queues, general purpose v2.
    pub const STORAGE_PER_10_000: f64 = 0.004;
    /// Service Bus Standard, operations beyond those that its base price covers.
    pub const SERVICE_BUS_PER_MILLION: f64 = 0.80;
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            currency: Self::CURRENCY.to_owned(),
            storage_per_10_000: Self::STORAGE_PER_10_000,
            service_bus_per_million: Self::SERVICE_BUS_PER_MILLION,
        }
    }
}

/// Reads the prices; those that are not set have the defaults.
pub(super) fn prices(env: &mut Env) -> Prices {
    Prices {
        currency: env.text(&reference::PRICE_CURRENCY),
        storage_per_10_000: env.number(&reference::PRICE_STORAGE),
        service_bus_per_million: env.number(&reference::PRICE_SERVICE_BUS),
    }
}
