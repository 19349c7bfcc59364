enable f16;
enable wgpu_cooperative_matrix;

// Halves, four at a time: rows of an operand begin at multiples of four.
@group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f16>>;
