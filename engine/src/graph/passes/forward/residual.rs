//! Residual networks of convolutions (He et al. 2016), as torchvision builds them: the first convolution, four stages of
//! blocks, the mean of all pixels and a linear layer. Rows are pixels, columns channels.

use super::Builder;
use crate::graph::{DType, OpKind, Part, Shape, TensorId, Window};
use crate::model::{Block, ConvNet, Image};

/// Of the first convolution.
const STEM: Window = Window { side: crate::model::STEM_KERNEL, stride: 2 };
/// Of the pooling behind it.
const POOL: Window = Window { side: 3, stride: 2 };

impl Builder<'_> {
    pub(super) fn residual_network(&mut self) {
        let (Some(net), Some(image)) = (self.model.convolutions.clone(), self.model.image) else { return };
        let mut x = self.stem(&net, image);
        for (layer, block) in (0..).zip(net.all_blocks(image.size)) {
            self.part = Part::Layer(layer);
            x = self.block(x, block, net.bottleneck);
        }
        self.part = Part::Head;
        let batch = self.graph.dims.batch;
        let last = net.block(net.layers(), image.size);
        let all = Window { side: last.side.div_ceil(last.stride), stride: 1 };
        let pooled = self.value("mean", batch, net.features());
        self.push(OpKind::Pool(all), "mean", vec![x], vec![pooled]);
        let targets = self.numbers("targets", Part::Head, batch);
        let logits = self.whole_biased("logits", pooled, image.classes);
        self.whole_cross_entropy("loss", logits, targets);
    }

    fn stem(&mut self, net: &ConvNet, image: Image) -> TensorId {
        let batch = self.graph.dims.batch;
        let pixels = batch.saturating_mul(image.size * image.size);
        let shape = Shape::new(pixels, image.patch_width());
        let images = self.input("images", Part::Embedding, shape, DType::F32);
        let x = self.op(OpKind::Cast, "pixels", vec![images], shape.cols);
        let half = image.size.div_ceil(2);
        let x = self.convolution("first", x, STEM, net.width, half);
        let x = self.image_norm("first", x);
        let x = self.op(OpKind::Relu, "first activation", vec![x], net.width);
        let pixels = batch.saturating_mul(ConvNet::first_side(image.size).pow(2));
        let pooled = self.value("pooling", pixels, net.width);
        self.push(OpKind::Pool(POOL), "pooling", vec![x], vec![pooled]);
        pooled
    }

    /// Convolutions with a norm each, and what goes around them, projected where shapes differ.
    fn block(&mut self, x: TensorId, block: Block, bottleneck: bool) -> TensorId {
        let mut all = block.convolutions(bottleneck);
        let around = if block.projects { all.pop() } else { None };
        let (last, mut y) = (all.len() - 1, x);
        for (number, [side, _, outputs, behind]) in all.into_iter().enumerate() {
            let what = format!("convolution {}", number + 1);
            // The first 3 × 3 of a block shrinks the image.
            let strided = self.rows_of(y) > self.graph.dims.batch.saturating_mul(behind * behind);
            let window = Window { side, stride: if strided { block.stride } else { 1 } };
            y = self.convolution(&what, y, window, outputs, behind);
            y = self.image_norm(&what, y);
            if number < last {
                y = self.op(OpKind::Relu, &format!("{what} activation"), vec![y], outputs);
            }
        }
        let around = around.map_or(x, |[side, _, outputs, behind]| {
            let window = Window { side, stride: block.stride };
            let projected = self.convolution("projection", x, window, outputs, behind);
            self.image_norm("projection", projected)
        });
        let sum = self.op(OpKind::Add, "sum", vec![y, around], block.outputs);
        self.op(OpKind::Relu, "activation", vec![sum], block.outputs)
    }

    /// A convolution without bias; the result has `behind` pixels on a side.
    fn convolution(&mut self, what: &str, x: TensorId, window: Window, outputs: u32, behind: u32) -> TensorId {
        let taps = window.side * window.side * self.cols_of(x);
        let weight = self.parameter(&format!("{what} weight"), taps, outputs);
        let y = self.value(what, self.graph.dims.batch.saturating_mul(behind * behind), outputs);
        self.push(OpKind::Convolution(window), what, vec![x, weight], vec![y]);
        y
    }

    /// A norm of every channel over the micro-batch, or of groups of channels of every image.
    fn image_norm(&mut self, what: &str, x: TensorId) -> TensorId {
        let channels = self.cols_of(x);
        let (weight, shift) = (
            self.parameter(&format!("{what} norm weight"), channels, 1),
            self.parameter(&format!("{what} norm shift"), channels, 1),
        );
        let y = self.value(&format!("{what} norm"), self.rows_of(x), channels);
        let groups = self.model.convolutions.as_ref().and_then(|net| net.groups);
        let (kind, rows) = match groups {
            Some(groups) => (OpKind::GroupNorm(groups), self.graph.dims.batch.saturating_mul(groups)),
            None => (OpKind::BatchNorm, channels),
        };
        let statistics = self.value(&format!("{what} norm statistics"), rows, 2);
        self.push(kind, &format!("{what} norm"), vec![x, weight, shift], vec![y, statistics]);
        y
    }
}
