//! The hybrid cube mesh that joins eight V100 without a switch (NVIDIA, "DGX-1 with Tesla V100", figure 4): how many
//! rings can run in it at once depends on which devices take part.

use std::sync::LazyLock;

use petgraph::graph::{NodeIndex, UnGraph};

/// Devices with the number of links between them; each device has six.
const LINKS: [(u32, u32, u32); 16] = [
    (0, 1, 1),
    (0, 2, 1),
    (0, 3, 2),
    (0, 4, 2),
    (1, 2, 2),
    (1, 3, 1),
    (1, 5, 2),
    (2, 3, 2),
    (2, 6, 1),
    (3, 7, 1),
    (4, 5, 1),
    (4, 6, 1),
    (4, 7, 2),
    (5, 6, 2),
    (5, 7, 1),
    (6, 7, 2),
];

/// Links of a device.
const LINKS_OF_A_DEVICE: f64 = 6.0;

/// The share of a device's links that rings of the first `ranks` devices can keep busy.
///
/// Two devices use the links between them; more use rings that share no link, each in both directions. Five have no
/// ring of their own: one of them is reached and left over the same pair of links.
pub fn ring_share(ranks: u32) -> f64 {
    static RINGS: LazyLock<Vec<f64>> = LazyLock::new(|| (0..=8).map(|n| links_used(n) / LINKS_OF_A_DEVICE).collect());
    RINGS.get(ranks as usize).copied().unwrap_or(1.0)
}

fn links_used(ranks: usize) -> f64 {
    let mut mesh = mesh();
    match ranks {
        0 | 1 => LINKS_OF_A_DEVICE,
        2 => between(&mesh, 0, 1).map_or(0.0, f64::from),
        _ => 2.0 * f64::from(disjoint_rings(&mut mesh, ranks).max(1)),
    }
}

fn mesh() -> UnGraph<(), u32> {
    UnGraph::from_edges(LINKS)
}

fn between(mesh: &UnGraph<(), u32>, a: usize, b: usize) -> Option<u32> {
    mesh.find_edge(NodeIndex::new(a), NodeIndex::new(b)).map(|edge| mesh[edge])
}

/// The most rings over the first `ranks` devices that share no link.
fn disjoint_rings(mesh: &mut UnGraph<(), u32>, ranks: usize) -> u32 {
    let mut rings = Vec::new();
    complete(mesh, ranks, &mut vec![0], &mut rings);
    let mut most = 0;
    for ring in rings {
        change(mesh, &ring, |links| links - 1);
        most = most.max(1 + disjoint_rings(mesh, ranks));
        change(mesh, &ring, |links| links + 1);
    }
    most
}

/// All rings that begin with `path` and use links that are left; each once, not once for each direction.
fn complete(mesh: &UnGraph<(), u32>, ranks: usize, path: &mut Vec<usize>, rings: &mut Vec<Vec<usize>>) {
    let last = path[path.len() - 1];
    let left = |a, b| between(mesh, a, b).is_some_and(|links| links > 0);
    if path.len() == ranks {
        if left(last, 0) && path[1] < last {
            rings.push(path.clone());
        }
        return;
    }
    for next in (0..ranks).filter(|next| !path.contains(next)).collect::<Vec<_>>() {
        if left(last, next) {
            path.push(next);
            complete(mesh, ranks, path, rings);
            path.pop();
        }
    }
}

/// Takes the links of a ring, or gives them back.
fn change(mesh: &mut UnGraph<(), u32>, ring: &[usize], by: fn(u32) -> u32) {
    for (place, &from) in ring.iter().enumerate() {
        let to = ring[(place + 1) % ring.len()];
        if let Some(edge) = mesh.find_edge(NodeIndex::new(from), NodeIndex::new(to)) {
            mesh[edge] = by(mesh[edge]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_six_links() {
        for device in 0..8 {
            let links: u32 = LINKS.iter().filter(|(a, b, _)| *a == device || *b == device).map(|link| link.2).sum();
            assert_eq!(f64::from(links), LINKS_OF_A_DEVICE, "{device}");
        }
    }

    /// Measured bus bandwidths on V100 (vTrain): 23, 45, 85, 37, 45, 87 and 135 GB/s for two to eight devices, which is
    /// 1, 2, 4, 2, 2, 4 and 6 links of 25 GB/s.
    #[test]
    fn rings_are_those_that_were_measured() {
        let links: Vec<f64> = (2..=8).map(|ranks| ring_share(ranks) * LINKS_OF_A_DEVICE).collect();
        assert_eq!(links, [1.0, 2.0, 4.0, 2.0, 2.0, 4.0, 6.0]);
    }
}
