//! What a kernel does, by its name: libraries have no other place for it.

use crate::trace::Activity;

/// Parts of names, in lower case, and what they are; the first that is found counts.
const KERNELS: &[(&str, &str)] = &[
    ("flash", "attention"),
    ("fmha", "attention"),
    ("attention", "attention"),
    ("convolve", "convolution"),
    ("conv2d", "convolution"),
    ("implicit_gemm", "convolution"),
    ("cudnn::cnn", "convolution"),
    ("dgrad", "convolution"),
    ("wgrad", "convolution"),
    ("gemm", "matmul"),
    ("cutlass", "matmul"),
    ("cublas", "matmul"),
    ("nvjet", "matmul"),
    ("matmul", "matmul"),
    ("tensile", "matmul"),
    ("cijk_", "matmul"),
    ("batch_norm", "batch_norm"),
    ("batchnorm", "batch_norm"),
    ("bn_fw", "batch_norm"),
    ("bn_bw", "batch_norm"),
    ("layer_norm", "norm"),
    ("layernorm", "norm"),
    ("rmsnorm", "norm"),
    ("rms_norm", "norm"),
    ("norm", "norm"),
    ("cross_entropy", "loss"),
    ("nll", "loss"),
    ("softmax", "loss"),
    ("embedding", "embedding"),
    ("indexselect", "embedding"),
    ("adam", "optimizer"),
    ("multi_tensor", "optimizer"),
    ("rotary", "rope"),
    ("rope", "rope"),
    ("pool", "pooling"),
    ("gelu", "activation"),
    ("silu", "activation"),
    ("swiglu", "activation"),
    ("relu", "activation"),
];

/// Parts of names of communication, and the collective.
const COLLECTIVES: &[(&str, &str)] = &[
    ("allreduce", "all_reduce"),
    ("all_reduce", "all_reduce"),
    ("allgather", "all_gather"),
    ("all_gather", "all_gather"),
    ("reducescatter", "reduce_scatter"),
    ("reduce_scatter", "reduce_scatter"),
    ("alltoall", "all_to_all"),
    ("all_to_all", "all_to_all"),
    ("broadcast", "broadcast"),
    ("sendrecv", "send"),
    ("send", "send"),
    ("recv", "receive"),
    ("barrier", "collective"),
    ("scatter", "collective"),
    ("gather", "collective"),
    ("reduce", "collective"),
];

/// Beginnings of names of kernels that communicate, after words that say nothing.
const COMMUNICATION: &[&str] = &["nccl", "rccl", "oneccl", "deepep", "nvshmem"];

/// The class of a name on the device, and whether it communicates.
pub(super) fn of_kernel(name: &str, collective: Option<&str>) -> (Activity, &'static str) {
    let name = name.to_ascii_lowercase();
    if collective.is_some() || COMMUNICATION.iter().any(|known| name.contains(known)) {
        let spoken = collective.unwrap_or(&name).to_ascii_lowercase();
        return (
            Activity::Communication,
            find(COLLECTIVES, &spoken).or_else(|| find(COLLECTIVES, &name)).unwrap_or("collective"),
        );
    }
    (Activity::Computation, find(KERNELS, &name).unwrap_or("elementwise"))
}

/// Bytes of an element of a type, as PyTorch or NCCL call it; 0 where it is not known.
pub(super) fn element_bytes(dtype: &str) -> i64 {
    let name = dtype.to_ascii_lowercase();
    match name.trim_start_matches("torch.") {
        "double" | "float64" | "long" | "int64" | "uint64" | "complexfloat" => 8,
        "float" | "float32" | "int" | "int32" | "uint32" => 4,
        "bfloat16" | "half" | "float16" | "short" | "int16" | "uint16" => 2,
        "byte" | "char" | "bool" | "int8" | "uint8" => 1,
        other if other.starts_with("float8") => 1,
        _ => 0,
    }
}

/// The class of a copy or a fill.
pub(super) fn of_copy(name: &str) -> &'static str {
    match name {
        _ if name.contains("DtoH") => "to_host",
        _ if name.contains("HtoD") => "from_host",
        _ => "elementwise",
    }
}

/// Classes of ours, as the categories of a file that this program wrote name them.
const OURS: &[(Activity, &[&str])] = &[
    (
        Activity::Computation,
        &[
            "matmul",
            "attention",
            "norm",
            "activation",
            "rope",
            "elementwise",
            "embedding",
            "loss",
            "optimizer",
            "cast",
            "expert_matmul",
            "routing",
            "convolution",
            "batch_norm",
            "group_norm",
            "pooling",
            "embedding_bag",
            "interaction",
            "compression",
            "split",
            "join",
        ],
    ),
    (
        Activity::Communication,
        &["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send", "receive", "shift", "push", "pull"],
    ),
    (Activity::Memory, &["to_host", "from_host"]),
    (Activity::Host, &["host_update", "load"]),
];

/// What a category of a file of ours is; of others, something on the host.
pub(super) fn of_ours(category: &str) -> (Activity, &'static str) {
    let of = |&(activity, classes): &(Activity, &'static [&'static str])| {
        classes.iter().find(|class| **class == category).map(|class| (activity, *class))
    };
    OURS.iter().find_map(of).unwrap_or((Activity::Host, "host_update"))
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(part, _)| name.contains(part)).map(|&(_, class)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_libraries_are_known() {
        for (name, class) in [
            ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn", "matmul"),
            ("sm90_xmma_gemm_bf16bf16_bf16f32", "matmul"),
            ("void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128>>", "attention"),
            ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", "elementwise"),
            ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>", "norm"),
            ("void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimizer"),
            ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "all_reduce"),
            ("ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)", "send"),
            ("ncclKernel_ReduceScatter_RING_LL_Sum_float", "reduce_scatter"),
        ] {
            let (activity, found) = of_kernel(name, None);
            assert_eq!(found, class, "{name}");
            assert_eq!(activity == Activity::Communication, name.starts_with("nccl"));
        }
        assert_eq!(of_kernel("ncclDevKernel_Generic", Some("_allgather_base")).1, "all_gather");
        assert_eq!(of_kernel("ncclDevKernel_Broadcast_RING_LL", Some("broadcast")).1, "broadcast");
        assert_eq!(of_kernel("ncclDevKernel_Reduce_Sum_f32_RING_LL", None).1, "collective");
        assert_eq!(of_copy("Memcpy DtoH (Device -> Pinned)"), "to_host");
    }
}
