//! Names that a trace has from a fixed list, so that one that is read back refers to the same.

use serde::de::{Deserialize as _, Deserializer, Error as _};

/// A name from one of the lists below.
pub type KnownName = &'static str;

/// Classes of ops, as [`super::Label::class`] names them.
pub const CLASSES: &[&str] = &[
    "activation",
    "all_gather",
    "all_reduce",
    "all_to_all",
    "attention",
    "batch_norm",
    "broadcast",
    "cast",
    "collective",
    "compression",
    "convolution",
    "elementwise",
    "embedding",
    "embedding_bag",
    "expert_matmul",
    "from_host",
    "group_norm",
    "host_update",
    "interaction",
    "join",
    "load",
    "loss",
    "matmul",
    "norm",
    "optimizer",
    "pooling",
    "pull",
    "push",
    "receive",
    "reduce_scatter",
    "rope",
    "routing",
    "send",
    "shift",
    "split",
    "to_host",
];

/// Axes of the mesh on which ranks send, as [`super::Traffic::axis`] names them.
pub const AXES: &[&str] = &["cp", "dp", "embedding", "ep", "model", "pp", "tp"];

fn known<'de, D: Deserializer<'de>>(deserializer: D, names: &[&'static str]) -> Result<&'static str, D::Error> {
    let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
    let found = names.iter().find(|name| **name == text);
    found.copied().ok_or_else(|| D::Error::custom(format!("unknown name `{text}`: expected one of {names:?}")))
}

pub(super) fn known_class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    known(deserializer, CLASSES)
}

pub(super) fn known_axis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    known(deserializer, AXES)
}
