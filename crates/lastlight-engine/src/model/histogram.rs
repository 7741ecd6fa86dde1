//! Histograms of durations: bucket bounds grow by the eighth root of two, so that a percentile read
//! from them has an error of at most 9%, whatever the duration. Independent of the database.

/// A measured duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// A task: from sending its message to its first claim.
    QueueWait,
    /// A task: from its first claim to its outcome.
    Run,
    /// A job: from its submission to its end.
    Job,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QueueWait, Self::Run, Self::Job];

    /// The name in the database and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueWait => "queue_wait",
            Self::Run => "run",
            Self::Job => "job",
        }
    }

    /// The metric with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == name)
    }
}

/// A bucket's upper bound. Bucket b holds durations from 2^(b/8) to 2^((b+1)/8) ms; bucket 0 also
/// holds shorter ones.
pub fn upper_bound_ms(bucket: i16) -> f64 {
    f64::exp2((f64::from(bucket) + 1.0) / 8.0)
}

/// A histogram: its non-empty buckets, in ascending order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    buckets: Vec<(i16, i64, f64)>,
}

impl Histogram {
    /// Adds a bucket; call it in ascending order.
    pub fn push(&mut self, bucket: i16, samples: i64, total_ms: f64) {
        if samples > 0 {
            self.buckets.push((bucket, samples, total_ms));
        }
    }

    /// Number of samples.
    pub fn samples(&self) -> i64 {
        self.buckets.iter().map(|(_, samples, _)| samples).sum()
    }

    /// The mean; exact, since the buckets have sums.
    pub fn mean_ms(&self) -> Option<f64> {
        let samples = self.samples();
        let total: f64 = self.buckets.iter().map(|(_, _, total)| total).sum();
        (samples > 0).then(|| total / samples as f64)
    }

    /// The percentile `share` (0 to 1), by nearest rank: the mean of the bucket that contains that
    /// sample. `None` if the histogram is empty.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        // The nearest rank: the smallest value that at least this share of all values does not
        // exceed.
        let rank = ((share * self.samples() as f64).ceil() as i64).max(1);
        let mut passed = 0;
        self.buckets.iter().find_map(|(_, samples, total)| {
            passed += samples;
            (passed >= rank).then(|| total / *samples as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut buckets = std::collections::BTreeMap::<i16, (i64, f64)>::new();
        for ms in values {
            let bucket = (8.0 * ms.max(1.0).log2()).floor() as i16;
            assert!(*ms <= upper_bound_ms(bucket));
            let sums = buckets.entry(bucket).or_default();
            *sums = (sums.0 + 1, sums.1 + ms);
        }
        let mut histogram = Histogram::default();
        for (bucket, (samples, total)) in buckets {
            histogram.push(bucket, samples, total);
        }
        histogram
    }

    #[test]
    fn a_percentile_has_an_error_of_at_most_9_percent() {
        // Spread evenly over eight decades, as durations are.
        let values: Vec<f64> =
            (0..10_000).map(|number| 10_f64.powf(f64::from(number) / 1250.0)).collect();
        let histogram = of(&values);
        for share in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let exact = values[(share * 10_000.0_f64).ceil() as usize - 1];
            let read = histogram.percentile_ms(share).unwrap();
            assert!((read / exact - 1.0).abs() < 0.0905, "p{share}: {read} for {exact}");
        }
        let mean = values.iter().sum::<f64>() / 10_000.0;
        assert!((histogram.mean_ms().unwrap() / mean - 1.0).abs() < 1e-9);
    }

    #[test]
    fn few_samples_use_the_nearest_rank() {
        let histogram = of(&[1.0, 10.0, 100.0]);
        assert_eq!(histogram.percentile_ms(0.5), Some(10.0));
        assert_eq!(histogram.percentile_ms(0.95), Some(100.0));
        assert_eq!(of(&[0.0]).percentile_ms(0.5), Some(0.0));
        assert_eq!(Histogram::default().percentile_ms(0.5), None);
        assert_eq!(Histogram::default().mean_ms(), None);
    }
}
