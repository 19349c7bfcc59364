//! Convolutions, their norms and pooling. Rows of tensors are pixels, columns channels.

use super::Call;
use crate::exec::Dispatch;
use crate::exec::cpu::batch_norm::BatchNormParams;
use crate::exec::cpu::batch_norm_grad::BatchNormGradParams;
use crate::exec::cpu::batch_norm_grad_params::BatchNormGradParamsParams;
use crate::exec::cpu::convolution::ConvolutionParams;
use crate::exec::cpu::convolution_input_grad::ConvolutionInputGradParams;
use crate::exec::cpu::convolution_weight_grad::ConvolutionWeightGradParams;
use crate::exec::cpu::group_norm::GroupNormParams;
use crate::exec::cpu::group_norm_grad::GroupNormGradParams;
use crate::exec::cpu::group_norm_grad_params::GroupNormGradParamsParams;
use crate::exec::cpu::pool::PoolParams;
use crate::exec::cpu::pool_grad::PoolGradParams;
use crate::graph::{OpKind, Shape, Window};

impl Call<'_> {
    /// Pixels of a side of the images of a micro-batch.
    fn side(&self, pixels: Shape) -> u32 {
        (pixels.rows / self.context.step.dims.batch).isqrt()
    }

    pub(super) fn convolution(&self, window: Window) -> Dispatch {
        let (x, y) = match self.op.kind {
            OpKind::Convolution(_) => (self.read_shape(0), self.write_shape(0)),
            OpKind::ConvolutionInputGrad(_) => (self.write_shape(0), self.read_shape(0)),
            _ => (self.read_shape(0), self.read_shape(1)),
        };
        let params = ConvolutionParams {
            batch: self.context.step.dims.batch,
            side: self.side(x),
            behind: self.side(y),
            inputs: x.cols,
            outputs: y.cols,
            kernel: window.side,
            stride: window.stride,
            pad: padding(window),
        };
        match self.op.kind {
            OpKind::Convolution(_) => self.simple(&params),
            OpKind::ConvolutionInputGrad(_) => self.simple(&ConvolutionInputGradParams(params)),
            _ => self.simple(&ConvolutionWeightGradParams(params)),
        }
    }

    pub(super) fn batch_norm(&self) -> Dispatch {
        let (Shape { rows, cols }, pad) = (self.read_shape(0), [0; 2]);
        match self.op.kind {
            OpKind::BatchNorm => {
                let eps = self.context.step.dims.norm_eps as f32;
                self.simple(&BatchNormParams { rows, cols, eps, pad: [0; 1] })
            }
            OpKind::BatchNormGrad => self.simple(&BatchNormGradParams { rows, cols, pad }),
            // What is read has a row for each channel.
            _ => self.simple(&BatchNormGradParamsParams { cols: rows, pad: [0; 3] }),
        }
    }

    pub(super) fn group_norm(&self, groups: u32) -> Dispatch {
        let (Shape { rows, cols }, dims) = (self.read_shape(0), &self.context.step.dims);
        let (images, pixels, eps) = (dims.batch, rows / dims.batch, dims.norm_eps as f32);
        let params = GroupNormParams { images, pixels, cols, groups, eps, pad: [0; 3] };
        match self.op.kind {
            OpKind::GroupNorm(_) => self.simple(&params),
            OpKind::GroupNormGrad(_) => self.simple(&GroupNormGradParams(params)),
            _ => self.simple(&GroupNormGradParamsParams(params)),
        }
    }

    /// A window that leaves one pixel is a mean.
    pub(super) fn pool(&self, window: Window) -> Dispatch {
        let forward = matches!(self.op.kind, OpKind::Pool(_));
        let (x, y) = (self.read_shape(0), if forward { self.write_shape(0) } else { self.read_shape(1) });
        let (side, behind) = (self.side(x), self.side(y));
        let mean = behind == 1 && window.side == side;
        let params = PoolParams {
            batch: self.context.step.dims.batch,
            side,
            behind,
            cols: x.cols,
            kernel: window.side,
            stride: window.stride,
            pad: if mean { 0 } else { padding(window) },
            mean: mean.into(),
        };
        if forward { self.simple(&params) } else { self.simple(&PoolGradParams(params)) }
    }
}

/// Pixels around an image, so that a window of odd side stands on every pixel.
fn padding(window: Window) -> u32 {
    (window.side - 1) / 2
}
