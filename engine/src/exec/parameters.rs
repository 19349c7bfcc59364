//! Initial weights, and the way from whole tensors to the shards of ranks and back.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::graph::{Dim, Placement, Shape, Spread, Tensor};
use crate::model::{Architecture, Model, Recommender};

/// The whole initial value of a parameter. It depends on the seed and the parameter's name alone, so every way of
/// sharding starts from the same weights. Norms start at one, shifts and biases at zero.
pub fn initial(tensor: &Tensor, seed: u64, model: &Model) -> Vec<f32> {
    let n = usize::try_from(tensor.shape.elements()).unwrap_or(0);
    if tensor.name.ends_with("norm weight") {
        return vec![1.0; n];
    }
    if tensor.name.ends_with("bias") || tensor.name.ends_with("shift") {
        return vec![0.0; n];
    }
    let deviation = deviation(tensor, model);
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(&tensor.name));
    (0..n).map(|_| (normal(&mut random) * deviation) as f32).collect()
}

/// Standard normal numbers that depend on the seed and a name alone.
pub fn random(name: &str, n: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
    (0..n).map(|_| normal(&mut random) as f32).collect()
}

/// The deviation of a matrix's elements.
///
/// - Transformers: 0.02, projections back into the residual stream scaled by 1/√(2·layers) (Radford et al. 2019).
/// - Residual networks: √(2 / inputs of an output) (He et al. 2015, equation 10).
/// - Recommenders: √(2 / (inputs + outputs)), tables 1/√(3·rows) as a uniform distribution up to 1/√rows has it (Naumov et
///   al. 2019, the reference implementation).
fn deviation(tensor: &Tensor, model: &Model) -> f64 {
    let (rows, cols) = (f64::from(tensor.shape.rows), f64::from(tensor.shape.cols));
    let back = tensor.name.ends_with("projection weight") || tensor.name.ends_with("down weight");
    match model.architecture {
        Architecture::Resnet => (2.0 / rows).sqrt(),
        Architecture::Dlrm if tensor.name.ends_with("tables") => {
            (3.0 * rows / f64::from(model.recommender.as_ref().map_or(1, Recommender::tables))).sqrt().recip()
        }
        Architecture::Dlrm => (2.0 / (rows + cols)).sqrt(),
        _ if back => 0.02 / f64::from(2 * model.layers).sqrt(),
        _ => 0.02,
    }
}

/// A standard normal number (Box & Muller 1958).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let uniform = |bits: u32| (f64::from(bits) + 0.5) / 4_294_967_296.0;
    let (u, v) = (uniform(random.next_u32()), uniform(random.next_u32()));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// FNV-1a: the same hash on every platform.
pub fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a rank holds of tensors: its number in the tensor group, and of mixtures which experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Which slice of the tensor group.
    pub slice: u32,
    /// Experts of a layer; 0 without a mixture.
    pub experts: u32,
    /// How many of them a rank has.
    pub local_experts: u32,
    /// The first of those that it has.
    pub first_expert: u32,
}

/// The part of `whole` that a rank holds; padding is zero.
pub fn shard(whole: &[f32], tensor: &Tensor, holding: Holding) -> Vec<f32> {
    let local = tensor.local;
    let mut part = vec![0.0; usize::try_from(local.elements()).unwrap_or(0)];
    for (row, col) in elements(local) {
        if let Some(place) = in_whole(tensor, holding, row, col) {
            part[at(local, row, col)] = whole[place];
        }
    }
    part
}

/// Writes the part of a rank into `whole`.
pub fn unshard(part: &[f32], tensor: &Tensor, holding: Holding, whole: &mut [f32]) {
    for (row, col) in elements(tensor.local) {
        if let Some(place) = in_whole(tensor, holding, row, col) {
            whole[place] = part[at(tensor.local, row, col)];
        }
    }
}

fn elements(shape: Shape) -> impl Iterator<Item = (u32, u32)> {
    (0..shape.rows).flat_map(move |row| (0..shape.cols).map(move |col| (row, col)))
}

/// Where an element of a rank's part lies in the whole; nowhere if it is padding.
fn in_whole(tensor: &Tensor, holding: Holding, row: u32, col: u32) -> Option<usize> {
    let of_experts = tensor.spread == Spread::Experts && holding.experts > 0;
    // The weights of experts lie below each other; each is cut for itself.
    let parts = if of_experts { (holding.experts, holding.local_experts.max(1)) } else { (1, 1) };
    let (rows, local_rows) = (tensor.shape.rows / parts.0, tensor.local.rows / parts.1);
    let (part, within) = (row / local_rows, row % local_rows);
    let (first_row, first_col) = match tensor.placement {
        Placement::Shard(Dim::Rows) => (holding.slice * local_rows, 0),
        Placement::Shard(Dim::Cols) => (0, holding.slice * tensor.local.cols),
        Placement::Replicate | Placement::Partial(_) => (0, 0),
    };
    let (of_part, col) = (first_row + within, first_col + col);
    let first = if of_experts { holding.first_expert } else { 0 };
    (of_part < rows && col < tensor.shape.cols).then(|| at(tensor.shape, (first + part) * rows + of_part, col))
}

fn at(shape: Shape, row: u32, col: u32) -> usize {
    row as usize * shape.cols as usize + col as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{DType, Part, Role, Storage};
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
                let holding = Holding { slice: index, ..Holding::default() };
                unshard(&shard(&whole, &tensor, holding), &tensor, holding, &mut again);
            }
            assert_eq!(whole, again, "{placement:?}");
        }
    }
}
