//! The network that the benchmark builds of a cell, added up.

use super::Cell;
use crate::cells::Size;

/// Cells of a stage and channels of the first.
const CELLS: u64 = 5;
const CHANNELS: u64 = 16;
const PIXELS: u64 = 32 * 32;

impl Cell {
    /// Parameters, multiply-adds and depth of the benchmark's network for images of 32 × 32 and so many classes: a 3×3
    /// convolution, three stages of 5 cells with 16, 32 and 64 channels, a residual block between them, a linear layer
    /// (Dong and Yang 2020, section 2.1).
    pub fn size(&self, classes: u64) -> Size {
        let conv = |kernel: u64, from: u64, to: u64, pixels: u64| {
            let weights = kernel * kernel * from * to;
            (weights + 2 * to, weights * pixels)
        };
        let mut parts = vec![conv(3, 3, CHANNELS, PIXELS)];
        for stage in 0..3 {
            let (c, pixels) = (CHANNELS << stage, PIXELS >> (2 * stage));
            if stage > 0 {
                // Two 3×3 convolutions beside an average and a 1×1 convolution without a batch norm.
                let shortcut = c / 2 * c;
                parts.extend([conv(3, c / 2, c, pixels), conv(3, c, c, pixels), (shortcut, shortcut * pixels)]);
            }
            for operator in self.operators() {
                let (parameters, flops) = match operator {
                    "nor_conv_1x1" => conv(1, c, c, pixels),
                    "nor_conv_3x3" => conv(3, c, c, pixels),
                    _ => (0, 0),
                };
                parts.push((CELLS * parameters, CELLS * flops));
            }
        }
        let last = CHANNELS << 2;
        // The batch norm at the end, and the linear layer.
        parts.push((2 * last + (last + 1) * classes, last * classes));
        let [parameters, flops] = parts.iter().fold([0, 0], |[a, b], (parameters, flops)| [a + parameters, b + flops]);
        Size { parameters, flops, depth: 2 + 2 * 2 + 3 * CELLS * self.depth() }
    }

    /// Convolutions on the longest path through the cell; a `none` ends a path.
    fn depth(&self) -> u64 {
        let mut depths = [Some(0), None, None, None];
        for ((to, from), operator) in super::EDGES.into_iter().zip(self.operators()) {
            let own = u64::from(operator.starts_with("nor_conv"));
            if operator != "none" {
                let through = depths.get(from).copied().flatten().map(|depth: u64| depth + own);
                if let Some(depth) = depths.get_mut(to) {
                    *depth = (*depth).max(through);
                }
            }
        }
        depths.last().copied().flatten().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_are_as_large_as_published() {
        let cell =
            Cell::from_arch("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|");
        let size = cell.unwrap().size(10);
        assert_eq!((size.parameters, size.depth), (129_306, 6 + 15));
        let deepest = Cell::from_arch("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|").unwrap();
        assert_eq!(deepest.size(10).depth, 6 + 45);
        assert_eq!(Cell::at(0).size(10).depth, 6);
    }
}
