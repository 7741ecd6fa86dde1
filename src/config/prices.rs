//! What messages cost, for the comparison of the two paths.

use super::{Env, reference};
use crate::controller::Prices;

/// Reads the prices; those that are not set are public list prices.
pub(super) fn prices(env: &mut Env) -> Prices {
    Prices {
        currency: env.text(&reference::PRICE_CURRENCY),
        storage_per_10_000: env.number(&reference::PRICE_STORAGE),
        service_bus_per_million: env.number(&reference::PRICE_SERVICE_BUS),
    }
}
