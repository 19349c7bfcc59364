//! Recommenders: embedding tables, and perceptrons around their interaction (Naumov et al. 2019, "DLRM").

use serde::Serialize;

/// How the vectors of a sample meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interaction {
    /// All dot products of two of them, beside the vector of the dense features (Naumov et al. 2019, section 2.1.3).
    Dot,
    /// A cross network over all of them: `x₀ ⊙ (U·(V·x) + b) + x` (Wang et al. 2021, "DCN V2", equation 2).
    Cross {
        /// Its layers.
        layers: u32,
        /// Columns of `V` and rows of `U`.
        rank: u32,
    },
}

/// Tables and perceptrons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recommender {
    /// Rows of each table.
    pub table_rows: Vec<u32>,
    /// Rows of each table that a sample looks up and adds.
    pub lookups: Vec<u32>,
    /// Numbers of a sample besides.
    pub dense_features: u32,
    /// Widths of the layers through which they go.
    pub bottom_mlp: Vec<u32>,
    /// How vectors meet.
    pub interaction: Interaction,
    /// Widths of the layers behind the interaction; one more gives the prediction.
    pub top_mlp: Vec<u32>,
}

impl Recommender {
    /// Tables.
    pub fn tables(&self) -> u32 {
        u32::try_from(self.table_rows.len()).unwrap_or(u32::MAX)
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.table_rows.iter().map(|&rows| u64::from(rows)).sum()
    }

    /// Rows that a sample looks up in all tables.
    pub fn lookups_of_sample(&self) -> u32 {
        self.lookups.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// Layers of the model: of the cross network and of the top perceptron.
    pub fn layers(&self) -> u32 {
        let cross = if let Interaction::Cross { layers, .. } = self.interaction { layers } else { 0 };
        cross + u32::try_from(self.top_mlp.len()).unwrap_or(u32::MAX)
    }

    /// Width of what the interaction gives for vectors of `width`.
    pub fn interaction_width(&self, width: u32) -> u32 {
        let vectors = self.tables() + 1;
        match self.interaction {
            Interaction::Dot => width + vectors * self.tables() / 2,
            Interaction::Cross { .. } => vectors * width,
        }
    }

    /// Inputs and outputs of all linear layers with biases: bottom, top and prediction.
    pub fn linear_layers(&self, width: u32) -> Vec<[u32; 2]> {
        let chain = |first: u32, rest: &[u32]| {
            let inputs = std::iter::once(first).chain(rest.iter().copied());
            inputs.zip(rest.to_vec()).map(|(inputs, outputs)| [inputs, outputs]).collect::<Vec<_>>()
        };
        let top: Vec<u32> = self.top_mlp.iter().copied().chain([1]).collect();
        [chain(self.dense_features, &self.bottom_mlp), chain(self.interaction_width(width), &top)].concat()
    }
}
