//! How a convolution lays images out, so that every place of its kernel reads a plain run of numbers.
//!
//! A plane is copied between zeros, row after row; what pads a row at its right also pads the next one at its left. Then output
//! `p` of the whole plane, rows and all, reads place `p + offset` for one offset a place of the kernel: no borders, no branches,
//! runs as long as the plane. Some outputs at the end of each row are nonsense, and are left out when the plane is copied back.
//! Planes of several images follow each other, so that small images make long runs, too. For a stride `s`, a plane is split
//! into `s · s` phases, the places that are alike modulo the stride, and a place of the kernel reads one of them.

use crate::tensor::image::Geometry;

/// The layout of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Planes {
    g: Geometry,
    /// Rows and numbers of a row of a phase.
    rows: usize,
    width: usize,
    /// Images that follow each other.
    pub samples: usize,
    /// The phases that are read, as (row, column) modulo the stride.
    pub phases: Vec<[usize; 2]>,
    /// For each place of the kernel the index of its phase, and its offset there.
    pub taps: Vec<(usize, usize)>,
    /// The largest offset: zeros before the first output on the way back.
    pub lead: usize,
    /// Numbers from one plane to the next.
    pub stride: usize,
}

/// Zeros behind the last plane, for kernels that read whole blocks.
const SLACK: usize = 16;

impl Planes {
    /// The layout for as many samples as make about `run` outputs.
    pub(super) fn new(g: &Geometry, run: usize) -> Self {
        let sized = |axis: usize| (g.size[axis] + g.padding[axis]).div_ceil(g.stride).max(g.out[axis]);
        let (rows, width) = (sized(0), sized(1));
        let samples = run.div_ceil((rows * width).max(1)).clamp(1, g.batch.max(1));
        let mut phases = Vec::new();
        let mut taps = Vec::new();
        for (y, x) in (0..g.kernel[0]).flat_map(|y| (0..g.kernel[1]).map(move |x| (y * g.dilation, x * g.dilation))) {
            let phase = [y % g.stride, x % g.stride];
            let index = phases.iter().position(|other| *other == phase).unwrap_or_else(|| {
                phases.push(phase);
                phases.len() - 1
            });
            taps.push((index, y / g.stride * width + x / g.stride));
        }
        let lead = taps.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
        // An odd number of cache lines: rows that are a power of two apart would share few places of the cache.
        let lines = (lead + samples * rows * width + SLACK).div_ceil(16);
        Self { g: *g, rows, width, samples, phases, taps, lead, stride: (lines + 1 - lines % 2) * 16 }
    }

    /// Outputs of all samples, nonsense included.
    pub(super) fn run(&self) -> usize {
        self.samples * self.rows * self.width
    }

    /// Whether outputs lie as they do in an image.
    pub(super) fn plain(&self) -> bool {
        self.samples == 1 && self.rows == self.g.out[0] && self.width == self.g.out[1]
    }

    /// Numbers of an image's row within a phase: where the first is in the image, where it goes, and how many there are.
    fn span(&self, axis: usize, phase: usize) -> (usize, usize, usize) {
        let (padding, stride) = (self.g.padding[axis], self.g.stride);
        let first = padding.saturating_sub(phase).div_ceil(stride);
        let from = (first * stride + phase).saturating_sub(padding);
        let room = [self.rows, self.width][axis].saturating_sub(first);
        (from, first, self.g.size[axis].saturating_sub(from).div_ceil(stride).min(room))
    }

    /// Copies a channel of some samples into one phase; `plane` is all zeros but for what an earlier call wrote.
    pub(super) fn lay<'a>(&self, plane: &mut [f32], phase: usize, samples: impl Iterator<Item = &'a [f32]>) {
        let [row_phase, column_phase] = self.phases[phase];
        let (from_row, first_row, count) = self.span(0, row_phase);
        let (from_column, first_column, columns) = self.span(1, column_phase);
        for (plane, image) in plane.chunks_exact_mut(self.rows * self.width).zip(samples) {
            let rows = plane.chunks_exact_mut(self.width).skip(first_row).take(count);
            let images = image.chunks_exact(self.g.size[1]).skip(from_row).step_by(self.g.stride);
            for (row, image) in rows.zip(images) {
                let (to, from) = (&mut row[first_column..first_column + columns], &image[from_column.min(image.len())..]);
                if self.g.stride == 1 {
                    to.copy_from_slice(&from[..columns]);
                } else {
                    to.iter_mut().zip(from.iter().step_by(self.g.stride)).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// Adds one phase to a channel of some samples; with a mask only where that is positive.
    pub(super) fn lift<'a>(
        &self,
        plane: &[f32],
        phase: usize,
        samples: impl Iterator<Item = (&'a mut [f32], Option<&'a [f32]>)>,
    ) {
        let [row_phase, column_phase] = self.phases[phase];
        let (from_row, first_row, count) = self.span(0, row_phase);
        let (from_column, first_column, columns) = self.span(1, column_phase);
        if columns == 0 {
            return;
        }
        let stride = self.g.stride;
        for (plane, (image, mask)) in plane.chunks_exact(self.rows * self.width).zip(samples) {
            for (index, row) in plane.chunks_exact(self.width).skip(first_row).take(count).enumerate() {
                let at = (from_row + index * stride) * self.g.size[1] + from_column;
                let (from, to) = (&row[first_column..first_column + columns], &mut image[at..]);
                match mask {
                    None if stride == 1 => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
                    None => to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to += from),
                    Some(mask) => {
                        let masked = to.iter_mut().zip(&mask[at..]).step_by(stride).zip(from);
                        masked.for_each(|((to, mask), from)| *to += if *mask > 0.0 { *from } else { 0.0 });
                    }
                }
            }
        }
    }

    /// Copies outputs of some samples in between zeros, behind [`Planes::lead`] of them.
    pub(super) fn lay_outputs<'a>(&self, plane: &mut [f32], samples: impl Iterator<Item = &'a [f32]>) {
        let width = self.g.out[1];
        for (plane, out) in plane[self.lead..].chunks_exact_mut(self.rows * self.width).zip(samples) {
            for (row, out) in plane.chunks_exact_mut(self.width).zip(out.chunks_exact(width)) {
                row[..width].copy_from_slice(out);
            }
        }
    }

    /// Copies outputs of some samples out.
    pub(super) fn lift_outputs<'a>(&self, plane: &[f32], samples: impl Iterator<Item = &'a mut [f32]>) {
        let width = self.g.out[1];
        for (plane, out) in plane.chunks_exact(self.rows * self.width).zip(samples) {
            for (row, out) in plane.chunks_exact(self.width).zip(out.chunks_exact_mut(width)) {
                out.copy_from_slice(&row[..width]);
            }
        }
    }
}
