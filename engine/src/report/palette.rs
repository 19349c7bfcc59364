//! Colours of parts of a step and of memory, for pictures that leave the program and for the screen.
//!
//! Categories differ in lightness as well as in hue, after the palettes of Okabe & Ito 2008 and Tol 2021, so that they can be
//! told apart with any colour vision.

use crate::trace::{MemoryCategory, Stream};

/// The colour of a part of the step time, as `0xRRGGBB`.
pub fn part_rgb(part: &str) -> u32 {
    match part {
        "forward" => 0x3b7dd8,
        "recompute" => 0x76b7e5,
        "backward" => 0x2a9d8f,
        "weight_gradient" => 0x9bc53d,
        "update" => 0x8d6cab,
        "exposed_tp" => 0xe07a3f,
        "exposed_cp" => 0xd95f5f,
        "exposed_ep" => 0xc4589a,
        "exposed_offload" => 0x6fa287,
        "exposed_input" => 0xff5a5f,
        "exposed_dp" => 0xf2a541,
        "exposed_pp" => 0xe9c46a,
        "exposed_model" => 0xb5651d,
        "host" => 0xc9b8e8,
        _ => 0x69707a,
    }
}

/// The part of the step time that a stream of communication stands for.
pub fn part_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Compute => "forward",
        Stream::TensorComm => "exposed_tp",
        Stream::ContextComm => "exposed_cp",
        Stream::ExpertComm => "exposed_ep",
        Stream::DataComm => "exposed_dp",
        Stream::ModelComm => "exposed_model",
        Stream::ToHost | Stream::FromHost | Stream::Host => "exposed_offload",
        Stream::Input => "exposed_input",
        Stream::SendNext | Stream::ReceivePrevious | Stream::SendPrevious | Stream::ReceiveNext => "exposed_pp",
    }
}

/// The colour of a memory category.
pub fn memory_rgb(category: MemoryCategory) -> u32 {
    match category {
        MemoryCategory::Parameters => 0x3b7dd8,
        MemoryCategory::Gradients => 0x2a9d8f,
        MemoryCategory::OptimizerState => 0x8d6cab,
        MemoryCategory::Activations => 0xf2a541,
        MemoryCategory::Buffers => 0x9fb3c8,
    }
}

/// Colours of runs that are compared, in their order.
pub const RUN_RGB: [u32; 9] =
    [0x9fb3c8, 0x4f9df0, 0xf2a541, 0x2a9d8f, 0xd95f5f, 0x8d6cab, 0xe9c46a, 0xc4589a, 0x9bc53d];
