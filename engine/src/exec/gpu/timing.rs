//! How ops are timed, depending on what the device can.

/// Ways to time ops, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingMode {
    /// A timestamp between any two ops, in one open pass.
    InsidePasses,
    /// A pass for every op, with timestamps at its ends: all that browsers have.
    PassEnds,
    /// A submission for every op, timed on the host.
    Queue,
}

impl TimingMode {
    /// The best way that `features` allow.
    pub fn of(features: wgpu::Features) -> Self {
        if features.contains(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            Self::InsidePasses
        } else if features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            Self::PassEnds
        } else {
            Self::Queue
        }
    }

    /// The features that it needs.
    pub fn features(self) -> wgpu::Features {
        match self {
            Self::InsidePasses => wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES,
            Self::PassEnds => wgpu::Features::TIMESTAMP_QUERY,
            Self::Queue => wgpu::Features::empty(),
        }
    }

    /// What it is called beside figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::InsidePasses => "timestamp queries",
            Self::PassEnds => "timestamp queries at pass ends",
            Self::Queue => "queue time",
        }
    }
}
