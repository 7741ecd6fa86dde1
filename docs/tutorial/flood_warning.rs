//! The handlers of `workflows/flood_warning.yaml`.

use lastlight::prelude::*;
use serde::{Deserialize, Serialize};

/// The water levels of one station.
#[derive(Debug, Deserialize)]
pub struct Station {
    station: String,
    levels_cm: Vec<f64>,
    alarm_cm: f64,
}

/// The highest level of one station.
#[derive(Debug, Serialize, Deserialize)]
pub struct Highest {
    station: String,
    highest_cm: f64,
    /// 1 if it is above the alarm level, else 0: the fan-in adds these up.
    value: u32,
}

/// Finds the highest level of a station.
///
/// # Errors
/// The station has no levels.
pub async fn highest_level(_: TaskContext, given: Station) -> Result<Highest, TaskError> {
    let Station { station, levels_cm, alarm_cm } = given;
    let highest = levels_cm.into_iter().reduce(f64::max);
    let highest_cm =
        highest.ok_or_else(|| TaskError::permanent(format!("{station} has no levels")))?;
    Ok(Highest { station, highest_cm, value: u32::from(highest_cm > alarm_cm) })
}

/// What a warning says.
#[derive(Debug, Deserialize)]
pub struct Warning {
    too_high: u32,
    stations: u32,
    confirmed_by: Option<String>,
}

/// Writes the warning.
///
/// # Errors
/// None.
pub async fn write_warning(_: TaskContext, given: Warning) -> Result<String, TaskError> {
    let Warning { too_high, stations, confirmed_by } = given;
    let by = confirmed_by.unwrap_or_else(|| "nobody".to_owned());
    Ok(format!("{too_high} of {stations} stations are too high, confirmed by {by}"))
}

#[cfg(test)]
mod tests {
    use lastlight::testing;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_station_above_the_alarm_level_counts() {
        let app = App::new().handler("highest_level", highest_level);
        let given = json!({ "station": "Kaub", "levels_cm": [310, 455, 420], "alarm_cm": 400 });
        let highest: Highest = testing::call(&app, "highest_level", given).await.unwrap();
        assert_eq!((highest.highest_cm, highest.value), (455.0, 1));
    }
}
