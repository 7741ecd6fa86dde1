//! What messages cost, for the comparison of the two paths.

use super::{Env, env::shown};
use crate::controller::Prices;

/// Reads the prices; those that are not set are public list prices.
pub(super) fn prices(env: &mut Env) -> Prices {
    let default = Prices::default();
    let currency = env.get_or("LASTLIGHT_PRICE_CURRENCY", &default.currency);
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        env.problem(
            "LASTLIGHT_PRICE_CURRENCY",
            format!("{} is not a currency", shown(&currency)),
            "Set it to three capital letters, such as USD or EUR, or leave it out for USD.",
        );
    }
    Prices {
        currency,
        storage_per_10_000: env.number(
            "LASTLIGHT_PRICE_STORAGE_PER_10000",
            default.storage_per_10_000,
            0.0,
            1000.0,
        ),
        service_bus_per_million: env.number(
            "LASTLIGHT_PRICE_SERVICE_BUS_PER_MILLION",
            default.service_bus_per_million,
            0.0,
            1000.0,
        ),
    }
}
