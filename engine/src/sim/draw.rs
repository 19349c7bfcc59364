//! Numbers drawn alike on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// A number from 0 to below 1.
pub fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
