//! What messages cost, for the comparison of the two paths.

use super::{Env, reference};

/// What messages cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// Three letters, as in ISO 4217.
    pub currency: String,
    /// Of 10,000 operations on a Storage Queue.
    pub storage_per_10_000: f64,
    /// Of a million operations on Service Bus.
    pub service_bus_per_million: f64,
}

/// Taken for public list prices in November 2026, not verified, to be checked against one's own
/// contract.
impl Prices {
    /// What the prices are in.
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

/// Reads the prices; those that are not set are public list prices.
pub(super) fn prices(env: &mut Env) -> Prices {
    Prices {
        currency: env.text(&reference::PRICE_CURRENCY),
        storage_per_10_000: env.number(&reference::PRICE_STORAGE),
        service_bus_per_million: env.number(&reference::PRICE_SERVICE_BUS),
    }
}
