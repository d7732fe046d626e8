//! Batch normalisation, with the ReLU behind it.

use dfdx::tensor::Cpu;
use rayon::prelude::*;

use super::{made, room};
use crate::tensor::cpu::sum;
use crate::tensor::image::compose::{affine_of, given_stats};
use crate::tensor::image::{BatchStats, Image, Recorder, Stats};
use crate::tensor::lend::lend;
use crate::tensor::{EPSILON, Matrix, TensorError, matrix};

/// See [`crate::tensor::image::ImageDevice::batch_norm`].
pub(in crate::tensor::image) fn batch_norm(
    r: &mut Recorder<Cpu>,
    x: &Image<Cpu>,
    affine: [Option<&Matrix<Cpu>>; 2],
    stats: Stats<'_>,
    relu: bool,
) -> Result<(Image<Cpu>, Option<BatchStats<Cpu>>), TensorError> {
    let [batch, channels, height, width] = x.shape();
    let affine = affine_of(affine, channels)?;
    let given = given_stats(&stats, channels)?;
    let (plane, count) = (height * width, batch * height * width);
    let numbers = lend(&x.tensor);
    let from_batch = given.is_none();
    let [mean, variance] = given.unwrap_or_else(|| moments(numbers, [batch, channels, plane]));
    let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + EPSILON).sqrt()).collect();
    let [gain, shift] = [0, 1].map(|part: usize| affine[part].as_ref().map(lend));
    let lines: Vec<Line> = (0..channels)
        .map(|channel| {
            let factor = inverse[channel] * gain.map_or(1.0, |gain| gain[channel]);
            Line { factor, offset: shift.map_or(0.0, |shift| shift[channel]) - mean[channel] * factor }
        })
        .collect();
    let mut out = vec![0.0; numbers.len()];
    let images = out.par_chunks_exact_mut(channels * plane).zip(numbers.par_chunks_exact(channels * plane));
    images.for_each(|(out, x)| {
        for ((out, x), line) in out.chunks_exact_mut(plane).zip(x.chunks_exact(plane)).zip(&lines) {
            if relu {
                out.iter_mut().zip(x).for_each(|(out, x)| *out = line.at(*x).max(0.0));
            } else {
                out.iter_mut().zip(x).for_each(|(out, x)| *out = line.at(*x));
            }
        }
    });
    let found = from_batch.then(|| {
        let unbiased = count as f32 / count.saturating_sub(1).max(1) as f32;
        let moments = mean.iter().copied().chain(variance.iter().map(|variance| variance * unbiased)).collect();
        Ok::<_, TensorError>(BatchStats { moments: matrix(x.device(), 2, channels, moments)? })
    });
    let found = found.transpose()?;
    let learns = affine.iter().any(Option::is_some);
    let out = made(r, x, x.shape(), out, learns || x.slot.is_some())?;
    if let Some(of) = out.slot.clone() {
        let x = x.clone();
        r.push(move |gradients| {
            let delta = of.take();
            if delta.is_empty() {
                return Ok(());
            }
            let numbers = lend(&x.tensor);
            // Sums of the gradient, alone and along the normalised numbers.
            let sums: Vec<[f32; 2]> = (0..channels)
                .into_par_iter()
                .map(|channel| {
                    let (mut plain, mut along) = (0.0_f64, 0.0_f64);
                    for index in 0..batch {
                        let own = (index * channels + channel) * plane..(index * channels + channel + 1) * plane;
                        let (delta, x) = (&delta[own.clone()], &numbers[own]);
                        let sums = match relu {
                            true => sums_of_plane::<true>(delta, x, mean[channel], lines[channel]),
                            false => sums_of_plane::<false>(delta, x, mean[channel], lines[channel]),
                        };
                        plain += f64::from(sums[0]);
                        along += f64::from(sums[1]);
                    }
                    [plain as f32, along as f32 * inverse[channel]]
                })
                .collect();
            for (part, which) in affine.iter().zip([1, 0]) {
                if let Some(part) = part {
                    let back = gradients.get_or_alloc_mut(part)?;
                    back.iter_mut().zip(&sums).for_each(|(back, sums)| *back += sums[which]);
                }
            }
            let Some(slot) = &x.slot else { return Ok(()) };
            // dx = factor · (delta - mean of delta - normal · mean of delta · normal), the last two with batch statistics alone.
            let ways: Vec<[f32; 3]> = (0..channels)
                .map(|channel| {
                    let (factor, share) = (lines[channel].factor, if from_batch { 1.0 / count as f32 } else { 0.0 });
                    let along = -factor * share * sums[channel][1] * inverse[channel];
                    [factor, along, -factor * share * sums[channel][0] - along * mean[channel]]
                })
                .collect();
            slot.with(|back| {
                let back = room(back, numbers.len()).par_chunks_exact_mut(channels * plane);
                let images = delta.par_chunks_exact(channels * plane).zip(numbers.par_chunks_exact(channels * plane));
                back.zip(images).for_each(|(back, (delta, x))| {
                    let planes = delta.chunks_exact(plane).zip(x.chunks_exact(plane));
                    let ways = ways.iter().zip(&lines);
                    for ((back, (delta, x)), ([factor, along, offset], line)) in
                        back.chunks_exact_mut(plane).zip(planes).zip(ways)
                    {
                        for ((back, delta), x) in back.iter_mut().zip(delta).zip(x) {
                            let delta = if relu && line.at(*x) <= 0.0 { 0.0 } else { *delta };
                            *back += factor * delta + along * x + offset;
                        }
                    }
                });
            });
            Ok(())
        });
    }
    Ok((out, found))
}

/// A channel's way from input to output.
#[derive(Clone, Copy)]
struct Line {
    factor: f32,
    offset: f32,
}

impl Line {
    fn at(self, x: f32) -> f32 {
        self.factor * x + self.offset
    }
}

/// Mean and biased variance of each channel.
fn moments(numbers: &[f32], [batch, channels, plane]: [usize; 3]) -> [Vec<f32>; 2] {
    let planes = |channel: usize| {
        (0..batch).map(move |index| &numbers[(index * channels + channel) * plane..(index * channels + channel + 1) * plane])
    };
    let share = 1.0 / (batch * plane) as f64;
    let both = (0..channels).into_par_iter().map(|channel| {
        let mean = (planes(channel).map(|plane| f64::from(sum(plane))).sum::<f64>() * share) as f32;
        let square: f64 = planes(channel).map(|plane| f64::from(squares(plane, mean))).sum();
        (mean, (square * share) as f32)
    });
    let (mean, variance) = both.unzip();
    [mean, variance]
}

/// `Σ (x - mean)²`.
fn squares(values: &[f32], mean: f32) -> f32 {
    let (blocks, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0_f32; 16];
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, x)| *lane += (x - mean) * (x - mean));
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>()
}

/// `Σ delta` and `Σ delta · (x - mean)`, with `RELU` over those numbers alone that it lets through.
fn sums_of_plane<const RELU: bool>(delta: &[f32], x: &[f32], mean: f32, line: Line) -> [f32; 2] {
    let passed = |delta: f32, x: f32| if RELU && line.at(x) <= 0.0 { 0.0 } else { delta };
    let ((deltas, delta_rest), (blocks, rest)) = (delta.as_chunks::<16>(), x.as_chunks::<16>());
    let (mut plain, mut along) = ([0.0_f32; 16], [0.0_f32; 16]);
    for (delta, block) in deltas.iter().zip(blocks) {
        for lane in 0..16 {
            let delta = passed(delta[lane], block[lane]);
            plain[lane] += delta;
            along[lane] += delta * (block[lane] - mean);
        }
    }
    let mut sums = [plain.iter().sum::<f32>(), along.iter().sum::<f32>()];
    for (delta, x) in delta_rest.iter().zip(rest) {
        let delta = passed(*delta, *x);
        sums[0] += delta;
        sums[1] += delta * (x - mean);
    }
    sums
}
