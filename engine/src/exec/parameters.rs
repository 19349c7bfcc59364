//! Initial weights, and the way from whole tensors to the shards of ranks and back.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::graph::{Dim, Placement, Shape, Tensor};

/// The whole initial value of a parameter. It depends on the seed and the parameter's name alone, so every way of
/// sharding starts from the same weights.
///
/// GPT-2's initialisation (Radford et al. 2019): normal with deviation 0.02, projections back into the residual
/// stream scaled by 1/√(2·layers); norms start at one, shifts and biases at zero.
pub fn initial(tensor: &Tensor, seed: u64, layers: u32) -> Vec<f32> {
    let n = usize::try_from(tensor.shape.elements()).unwrap_or(0);
    if tensor.shape.cols == 1 {
        let value = if tensor.name.ends_with("norm weight") { 1.0 } else { 0.0 };
        return vec![value; n];
    }
    let back = tensor.name.ends_with("projection weight") || tensor.name.ends_with("mlp down weight");
    let deviation = if back { 0.02 / f64::from(2 * layers).sqrt() } else { 0.02 };
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(&tensor.name));
    (0..n).map(|_| (normal(&mut random) * deviation) as f32).collect()
}

/// A standard normal number (Box & Muller 1958).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let uniform = |bits: u32| (f64::from(bits) + 0.5) / 4_294_967_296.0;
    let (u, v) = (uniform(random.next_u32()), uniform(random.next_u32()));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// FNV-1a: the same hash on every platform.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The part of `whole` that slice `index` of the tensor group holds; padding is zero.
pub fn shard(whole: &[f32], tensor: &Tensor, index: u32) -> Vec<f32> {
    let (rows, cols) = first_element(tensor, index);
    let local = tensor.local;
    let mut part = vec![0.0; usize::try_from(local.elements()).unwrap_or(0)];
    for row in 0..local.rows {
        for col in 0..local.cols {
            if rows + row < tensor.shape.rows && cols + col < tensor.shape.cols {
                part[at(local, row, col)] = whole[at(tensor.shape, rows + row, cols + col)];
            }
        }
    }
    part
}

/// Writes the part of slice `index` into `whole`.
pub fn unshard(part: &[f32], tensor: &Tensor, index: u32, whole: &mut [f32]) {
    let (rows, cols) = first_element(tensor, index);
    let local = tensor.local;
    for row in 0..local.rows.min(tensor.shape.rows.saturating_sub(rows)) {
        for col in 0..local.cols.min(tensor.shape.cols.saturating_sub(cols)) {
            whole[at(tensor.shape, rows + row, cols + col)] = part[at(local, row, col)];
        }
    }
}

fn first_element(tensor: &Tensor, index: u32) -> (u32, u32) {
    match tensor.placement {
        Placement::Shard(Dim::Rows) => (index * tensor.local.rows, 0),
        Placement::Shard(Dim::Cols) => (0, index * tensor.local.cols),
        Placement::Replicate | Placement::Partial(_) => (0, 0),
    }
}

fn at(shape: Shape, row: u32, col: u32) -> usize {
    row as usize * shape.cols as usize + col as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{DType, Part, Role, Spread, Storage};
    use crate::scenario::Place;

    #[test]
    fn shards_put_together_are_the_whole() {
        for placement in [Placement::Replicate, Placement::Shard(Dim::Rows), Placement::Shard(Dim::Cols)] {
            let shape = Shape::new(7, 6);
            let tensor = Tensor {
                name: "w".into(),
                shape,
                local: shape.local(placement, 3),
                dtype: DType::F32,
                role: Role::Parameter,
                part: Part::Embedding,
                placement,
                spread: Spread::Tensor,
                storage: Storage::Own,
                place: Place::Device,
            };
            let whole: Vec<f32> = (0..42_u16).map(f32::from).collect();
            let mut again = vec![0.0; 42];
            for index in 0..3 {
                unshard(&shard(&whole, &tensor, index), &tensor, index, &mut again);
            }
            assert_eq!(whole, again, "{placement:?}");
        }
    }
}
