//! The handlers of this app: functions that the files in `workflows` call by the names that `main` gives
//! them.

use lastlight::prelude::*;
use serde::Deserialize;

/// The parameters of `square`.
#[derive(Debug, Deserialize)]
pub struct Number {
    n: u64,
}

/// Squares a number. It may run more than once for the same task.
pub async fn square(_: TaskContext, Number { n }: Number) -> Result<u64, TaskError> {
    let squared = n.checked_mul(n);
    squared.ok_or_else(|| TaskError::permanent(format!("the square of {n} is too large")))
}

#[cfg(test)]
mod tests {
    use lastlight::testing;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_number_is_squared() {
        let app = App::new().handler("square", square);
        let given = json!({ "n": 4 });
        let squared: u64 = testing::call(&app, "square", given).await.unwrap();
        assert_eq!(squared, 16);
    }
}
