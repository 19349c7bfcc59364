// What all update rules share: how gradients are unscaled and clipped.

// A step whose gradients are not finite changes nothing: with a loss scale that is how it is found to be too large.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// By what gradients are multiplied: by 1 / loss scale, and so that their norm is at most `clip`, where that is above 0.
fn gradient_factor(clip: f32, unscale: f32, norm_sq: f32) -> f32 {
    if clip <= 0.0 {
        return unscale;
    }
    return unscale * min(1.0, clip / (sqrt(norm_sq) * unscale + 1e-6));
}
