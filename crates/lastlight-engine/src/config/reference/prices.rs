//! The prices of messages.

use super::Group;
use crate::config::{
    Prices,
    declaration::{Number, Text},
};

pub(super) static GROUP: Group = Group {
    title: "Prices",
    about: "The prices of messages, for the comparison of the two paths ([METRICS.md](METRICS.md)). Check the defaults \
            against your contract.",
    settings: &[&PRICE_CURRENCY, &PRICE_STORAGE, &PRICE_SERVICE_BUS],
};

const DEAREST: f64 = 1000.0;

pub(in crate::config) static PRICE_CURRENCY: Text = Text {
    name: "LASTLIGHT_PRICE_CURRENCY",
    default: Prices::CURRENCY,
    what: "a currency",
    allowed: "three capital letters, such as USD or EUR",
    is_allowed: |text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
    meaning: "The currency of the prices. Nothing is converted.",
};

pub(in crate::config) static PRICE_STORAGE: Number<f64> = Number {
    name: "LASTLIGHT_PRICE_STORAGE_PER_10000",
    default: Prices::STORAGE_PER_10_000,
    min: 0.0,
    max: DEAREST,
    unit: "units of the currency",
    meaning: "The price of 10,000 operations on a Storage Queue.",
};

pub(in crate::config) static PRICE_SERVICE_BUS: Number<f64> = Number {
    name: "LASTLIGHT_PRICE_SERVICE_BUS_PER_MILLION",
    default: Prices::SERVICE_BUS_PER_MILLION,
    min: 0.0,
    max: DEAREST,
    unit: "units of the currency",
    meaning: "The price of 1,000,000 operations on Service Bus.",
};
