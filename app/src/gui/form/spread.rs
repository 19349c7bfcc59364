//! Fields of mixtures of experts, of latent attention, and of the ranks that share sequences and experts.

use egui::{CollapsingHeader, Ui};
use shardlab_engine::scenario::{ContextMethod, ExpertDispatch};

use super::Form;
use super::fields::{choice_ui, number_ui, optional_flag_ui, optional_ui, ranged_real_ui};
use crate::gui::i18n::t;

impl Form<'_> {
    /// Draws how context ranks and experts are laid over the replicas.
    pub(super) fn spread_ui(&mut self, ui: &mut Ui) {
        let paths = ["context_parallel", "expert_parallel", "expert_tensor_parallel", "capacity_factor"];
        let errors = paths.map(|path| self.error_of(&format!("strategy.{path}")));
        let [context, experts, slices, capacity] = errors.each_ref().map(Option::as_deref);
        let has_experts = self.session.run.scenario.model().mixture.is_some();
        let s = &mut self.session.file.strategy;
        number_ui(ui, "form.strategy.cp", &mut s.context_parallel, 1..=4096, context);
        if s.context_parallel > 1 {
            let methods = ContextMethod::ALL.map(|method| (method, context_key(method)));
            choice_ui(ui, "form.strategy.cp_method", &mut s.context_method, &methods);
        }
        if has_experts || s.expert_parallel > 1 || s.expert_tensor_parallel > 1 {
            number_ui(ui, "form.strategy.ep", &mut s.expert_parallel, 1..=4096, experts);
            number_ui(ui, "form.strategy.etp", &mut s.expert_tensor_parallel, 1..=1024, slices);
            let ways = [ExpertDispatch::AllToAll, ExpertDispatch::OncePerNode].map(|way| (way, dispatch_key(way)));
            choice_ui(ui, "form.strategy.dispatch", &mut s.expert_dispatch, &ways);
            ranged_real_ui(ui, "form.strategy.capacity", &mut s.capacity_factor, 0.1..=64.0, 1e-2, capacity);
        }
    }

    /// Draws the fields of a mixture of experts.
    pub(super) fn mixture_ui(&mut self, ui: &mut Ui) {
        let fields = ["experts", "experts_per_token", "expert_ffn_hidden", "shared_experts", "dense_layers"];
        let errors = fields.map(|field| self.error_of(&format!("model.{field}")));
        let interval_error = self.error_of("model.expert_interval");
        let run = self.session.run.clone();
        let (file, model) = (&mut self.session.file.model, run.scenario.model());
        let now = |value: &dyn Fn(&shardlab_engine::model::Mixture) -> u32| model.mixture.as_ref().map_or(0, value);
        let has_experts = model.mixture.is_some() || file.experts.is_some_and(|experts| experts > 0);
        let shared = now(&|m| m.shared_ffn_hidden / m.ffn_hidden.max(1));
        CollapsingHeader::new(t("form.model.mixture")).id_salt("mixture").show(ui, |ui| {
            let fields = [
                ("form.model.experts", &mut file.experts, now(&|m| m.experts), 0..=1 << 14),
                ("form.model.experts_per_token", &mut file.experts_per_token, now(&|m| m.per_token), 1..=1 << 14),
                ("form.model.expert_ffn_hidden", &mut file.expert_ffn_hidden, now(&|m| m.ffn_hidden), 1..=1 << 18),
                ("form.model.shared_experts", &mut file.shared_experts, shared, 0..=64),
                ("form.model.dense_layers", &mut file.dense_layers, now(&|m| m.dense_layers), 0..=4096),
            ];
            // The first says whether there is a mixture; the others mean nothing without one.
            let shown = if has_experts { fields.len() } else { 1 };
            for ((key, value, effective, range), error) in fields.into_iter().zip(errors).take(shown) {
                optional_ui(ui, key, value, effective, range, error.as_deref());
            }
            if !has_experts {
                return;
            }
            let (value, effective) = (&mut file.expert_interval, now(&|m| m.interval).max(1));
            optional_ui(ui, "form.model.expert_interval", value, effective, 1..=4096, interval_error.as_deref());
        });
    }

    /// Draws the fields of latent attention, and the biases around attention.
    pub(super) fn latent_ui(&mut self, ui: &mut Ui) {
        let errors = ["kv_rank", "query_rank", "rope_dim", "value_dim"].map(|f| self.error_of(&format!("model.{f}")));
        let run = self.session.run.clone();
        let (file, model) = (&mut self.session.file.model, run.scenario.model());
        let is_latent = model.latent.is_some() || file.kv_rank.is_some_and(|rank| rank > 0);
        let now = |value: &dyn Fn(&shardlab_engine::model::Latent) -> u32| model.latent.as_ref().map_or(0, value);
        CollapsingHeader::new(t("form.model.latent")).id_salt("latent").show(ui, |ui| {
            let fields = [
                ("form.model.kv_rank", &mut file.kv_rank, now(&|l| l.kv_rank), 0..=1 << 16),
                ("form.model.query_rank", &mut file.query_rank, now(&|l| l.query_rank), 0..=1 << 16),
                ("form.model.rope_dim", &mut file.rope_dim, now(&|l| l.rope_dim), 2..=256),
                ("form.model.value_dim", &mut file.value_dim, now(&|l| l.value_dim), 1..=256),
            ];
            let shown = if is_latent { fields.len() } else { 1 };
            for ((key, value, effective, range), error) in fields.into_iter().zip(errors).take(shown) {
                optional_ui(ui, key, value, effective, range, error.as_deref());
            }
            optional_flag_ui(ui, "form.model.qkv_bias", &mut file.qkv_bias, model.qkv_bias);
        });
    }
}

fn dispatch_key(way: ExpertDispatch) -> &'static str {
    match way {
        ExpertDispatch::AllToAll => "form.dispatch.all_to_all",
        ExpertDispatch::OncePerNode => "form.dispatch.once_per_node",
    }
}

fn context_key(method: ContextMethod) -> &'static str {
    match method {
        ContextMethod::Ring => "form.context.ring",
        ContextMethod::AllToAll => "form.context.all_to_all",
        ContextMethod::AllGather => "form.context.all_gather",
    }
}
