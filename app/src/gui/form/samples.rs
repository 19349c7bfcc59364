//! Fields of models whose samples are images, or numbers and rows of tables.

use egui::Ui;
use shardlab_engine::model::{Architecture, Interaction, Model};

use super::Form;
use super::fields::{list_ui, optional_flag_ui, optional_ui};

impl Form<'_> {
    /// Draws them for a family that has them.
    pub(super) fn samples_ui(&mut self, ui: &mut Ui, architecture: Architecture) {
        match architecture {
            Architecture::Vit | Architecture::Resnet => self.images_ui(ui, architecture),
            Architecture::Dlrm => self.recommender_ui(ui),
            _ => {}
        }
    }

    fn images_ui(&mut self, ui: &mut Ui, architecture: Architecture) {
        let errors = ["image_size", "patch_size", "classes", "blocks", "norm_groups"]
            .map(|f| self.error_of(&format!("model.{f}")));
        let [size, patch, classes, blocks, groups] = errors.each_ref().map(Option::as_deref);
        let run = self.session.run.clone();
        let (file, model) = (&mut self.session.file.model, run.scenario.model());
        let now = |value: &dyn Fn(&shardlab_engine::model::Image) -> u32, or| model.image.as_ref().map_or(or, value);
        optional_ui(ui, "form.model.image_size", &mut file.image_size, now(&|i| i.size, 224), 1..=4096, size);
        optional_ui(ui, "form.model.classes", &mut file.classes, now(&|i| i.classes, 1000), 1..=1 << 20, classes);
        if architecture == Architecture::Vit {
            optional_ui(ui, "form.model.patch_size", &mut file.patch_size, now(&|i| i.patch, 16), 1..=256, patch);
            return;
        }
        let net = model.convolutions.clone();
        let effective = net.as_ref().map_or_else(Vec::new, |net| net.blocks.clone());
        list_ui(ui, "form.model.blocks", &mut file.blocks, &mut self.state.typed, &effective, blocks);
        let bottleneck = net.as_ref().is_none_or(|net| net.bottleneck);
        optional_flag_ui(ui, "form.model.bottleneck", &mut file.bottleneck, bottleneck);
        let width = net.as_ref().map_or(1, |net| net.width);
        let effective = net.and_then(|net| net.groups).unwrap_or(0);
        optional_ui(ui, "form.model.norm_groups", &mut file.norm_groups, effective, 0..=width, groups);
    }

    fn recommender_ui(&mut self, ui: &mut Ui) {
        let numbers = ["dense_features", "cross_layers", "cross_rank"].map(|f| self.error_of(&format!("model.{f}")));
        let lists = ["table_rows", "lookups", "bottom_mlp", "top_mlp"].map(|f| self.error_of(&format!("model.{f}")));
        let run = self.session.run.clone();
        let (file, typed) = (&mut self.session.file.model, &mut self.state.typed);
        let effective = lists_of(run.scenario.model());
        let fields = [
            ("form.model.table_rows", &mut file.table_rows),
            ("form.model.lookups", &mut file.lookups),
            ("form.model.bottom_mlp", &mut file.bottom_mlp),
            ("form.model.top_mlp", &mut file.top_mlp),
        ];
        for (((key, value), effective), error) in fields.into_iter().zip(effective).zip(lists) {
            list_ui(ui, key, value, typed, &effective, error.as_deref());
        }
        let recommender = run.scenario.model().recommender.as_ref();
        let [dense, layers, rank] = numbers;
        let now = recommender.map_or(1, |recommender| recommender.dense_features);
        optional_ui(ui, "form.model.dense_features", &mut file.dense_features, now, 1..=1 << 16, dense.as_deref());
        let crossed = recommender.and_then(|recommender| match recommender.interaction {
            Interaction::Dot => None,
            Interaction::Cross { layers, rank } => Some((layers, rank)),
        });
        let (now_layers, now_rank) = crossed.unwrap_or((0, 512));
        optional_ui(ui, "form.model.cross_layers", &mut file.cross_layers, now_layers, 0..=64, layers.as_deref());
        if crossed.is_some() || file.cross_layers.is_some_and(|layers| layers > 0) {
            optional_ui(ui, "form.model.cross_rank", &mut file.cross_rank, now_rank, 1..=1 << 16, rank.as_deref());
        }
    }
}

/// What the lists of a recommender are where they are left out: rows, lookups, bottom and top.
fn lists_of(model: &Model) -> [Vec<u32>; 4] {
    let lists = |recommender: &shardlab_engine::model::Recommender| {
        let recommender = recommender.clone();
        [recommender.table_rows, recommender.lookups, recommender.bottom_mlp, recommender.top_mlp]
    };
    model.recommender.as_ref().map_or_else(Default::default, lists)
}
