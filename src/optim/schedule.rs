//! Learning rates.

use super::{OptimConfig, Schedule};

/// The learning rate of the step after `step` completed ones, in a run of `total` steps. During warm-up it
/// rises linearly; the schedule counts from its end.
pub fn learning_rate(config: &OptimConfig, step: u64, total: u64) -> f64 {
    let OptimConfig { lr, decay, schedule, warmup_steps, .. } = *config;
    if step < warmup_steps {
        return lr * (step + 1) as f64 / warmup_steps as f64;
    }
    let t = (step - warmup_steps) as f64;
    match schedule {
        Schedule::Constant => lr,
        Schedule::Decay => lr / (1.0 + decay * t),
        Schedule::Cosine => {
            let length = total.saturating_sub(warmup_steps).max(1) as f64;
            lr * 0.5 * (1.0 + (std::f64::consts::PI * (t / length).min(1.0)).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_is_that_of_keras() {
        let config = OptimConfig { lr: 0.1, decay: 0.5, ..Default::default() };
        let rates: Vec<_> = (0..3).map(|t| learning_rate(&config, t, 10)).collect();
        assert_eq!(rates, [0.1, 0.1 / 1.5, 0.1 / 2.0]);
    }

    #[test]
    fn warm_up_rises_to_the_rate_and_cosine_falls_to_zero() {
        let config = OptimConfig { warmup_steps: 4, schedule: Schedule::Cosine, ..Default::default() };
        let rate = |t| learning_rate(&config, t, 20);
        assert_eq!([rate(0), rate(1), rate(3), rate(4)], [0.025, 0.05, 0.1, 0.1]);
        assert!((rate(12) - 0.05).abs() < 1e-12 && rate(20).abs() < 1e-12 && rate(99).abs() < 1e-12);
        assert!((4..19).all(|t| rate(t) > rate(t + 1)));
    }
}
