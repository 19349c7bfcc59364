//! Fields of the network between nodes.

use egui::Ui;
use shardlab_engine::cluster::{AlgorithmChoice, Network, NetworkFile, NetworkKind};

use super::Form;
use super::fields::{flag_ui, list_ui, named_ui, optional_real_ui, optional_ui};

impl Form<'_> {
    /// Draws them; nothing is written where the network is the default.
    pub(super) fn network_ui(&mut self, ui: &mut Ui) {
        let paths = ["nodes_per_leaf", "oversubscription", "dims", "all_reduce"];
        let errors = paths.map(|path| self.error_of(&format!("cluster.network.{path}")));
        let [leaf, oversubscribed, dims, algorithm] = errors.each_ref().map(Option::as_deref);
        let effective = self.session.run.scenario.cluster().network.clone();
        let mut file = self.session.file.cluster.network.clone().unwrap_or_default();
        let kinds = NetworkKind::ALL.map(|kind| (kind, kind.name()));
        named_ui(ui, "form.network.kind", &mut file.kind, &kinds, None);
        let (nodes, ratio) = leaves(&effective);
        match file.kind {
            NetworkKind::NonBlocking => {}
            NetworkKind::LeafSpine | NetworkKind::Rails | NetworkKind::Dragonfly => {
                optional_ui(ui, "form.network.leaf", &mut file.nodes_per_leaf, nodes, 1..=1 << 16, leaf);
                let value = &mut file.oversubscription;
                optional_real_ui(
                    ui,
                    "form.network.oversubscription",
                    value,
                    ratio,
                    (0.1..=1000.0, 0.1),
                    oversubscribed,
                );
            }
            NetworkKind::Torus => {
                if file.dims.is_empty() {
                    file.dims.push(self.session.file.cluster.nodes);
                }
                list_ui(ui, "form.network.dims", &mut file.dims, &mut self.state.typed, &[], dims);
            }
        }
        let algorithms = AlgorithmChoice::ALL.map(|choice| (choice, choice.name()));
        named_ui(ui, "form.network.all_reduce", &mut file.all_reduce, &algorithms, algorithm);
        flag_ui(ui, "form.network.contention", &mut file.contention);
        self.session.file.cluster.network = Some(file).filter(|file| *file != NetworkFile::default());
    }
}

/// Nodes of a leaf and its oversubscription, where the network has leaves.
fn leaves(network: &Network) -> (u32, f64) {
    match network {
        Network::LeafSpine { nodes, oversubscription }
        | Network::Rails { nodes, oversubscription }
        | Network::Dragonfly { nodes, oversubscription } => (*nodes, *oversubscription),
        Network::NonBlocking | Network::Torus { .. } => (4, 1.0),
    }
}
