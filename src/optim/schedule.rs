//! Learning rates.

use super::{OptimConfig, Schedule};

/// The learning rate of the step that follows `step` completed ones, in a run of `total_steps`. Warm-up rises
/// linearly and ends just below `lr`; decay and cosine count from its end.
pub fn learning_rate(config: &OptimConfig, step: u64, total_steps: u64) -> f64 {
    if step < config.warmup_steps {
        return config.lr * (step + 1) as f64 / (config.warmup_steps + 1) as f64;
    }
    let done = (step - config.warmup_steps) as f64;
    match config.schedule {
        Schedule::Constant => config.lr,
        Schedule::Decay => config.lr / (1.0 + config.decay * done),
        Schedule::Cosine => {
            let span = total_steps.saturating_sub(config.warmup_steps).max(1) as f64;
            config.lr * 0.5 * (1.0 + (std::f64::consts::PI * (done / span).min(1.0)).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_is_that_of_keras() {
        let config = OptimConfig::default();
        assert_eq!(learning_rate(&config, 0, 100), 0.1);
        assert_eq!(learning_rate(&config, 10_000, 100), 0.05);
    }

    #[test]
    fn warm_up_rises_to_the_schedule() {
        let config = OptimConfig { warmup_steps: 4, schedule: Schedule::Constant, ..Default::default() };
        let rates: Vec<f64> = (0..6).map(|t| learning_rate(&config, t, 10)).collect();
        let expected = [0.02, 0.04, 0.06, 0.08, 0.1, 0.1];
        assert!(rates.iter().zip(expected).all(|(r, e)| (r - e).abs() < 1e-15), "{rates:?}");
    }

    #[test]
    fn cosine_falls_from_lr_to_0_and_stays() {
        let config = OptimConfig { warmup_steps: 2, schedule: Schedule::Cosine, ..Default::default() };
        assert_eq!(learning_rate(&config, 2, 12), 0.1);
        assert!((learning_rate(&config, 7, 12) - 0.05).abs() < 1e-15);
        for step in [12, 13, u64::MAX] {
            assert!(learning_rate(&config, step, 12).abs() < 1e-15);
        }
        assert!(learning_rate(&config, 5, 0).is_finite());
    }
}
