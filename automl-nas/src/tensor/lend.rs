//! The numbers of a tensor on the processor, without a copy.
#![expect(unsafe_code, reason = "dfdx has no accessor of a tensor's buffer; indexing lends single numbers of it alone")]

use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{Cpu, Tensor};

/// The numbers of a tensor in the order of their places. Every tensor that this layer keeps is contiguous: operations make
/// nothing else, and what permutes or broadcasts is copied before it leaves a composition.
pub(super) fn lend<S: Shape, T>(tensor: &Tensor<S, f32, Cpu, T>) -> &[f32] {
    let count = tensor.shape().num_elements();
    if count == 0 {
        return &[];
    }
    let mut last = tensor.shape().concrete();
    let sizes = last;
    let first = S::Concrete::default();
    for axis in 0..S::NUM_DIMS {
        last[axis] = sizes[axis] - 1;
    }
    let first: *const f32 = &tensor[first];
    let last: *const f32 = &tensor[last];
    // SAFETY: dfdx keeps a tensor on the processor in one `Vec`, and indexing adds index times stride within it. Where the
    // last place is count - 1 numbers behind the first, the strides are those of a contiguous tensor, or of one with the same
    // places in another order; all numbers between the two are in that `Vec`, which lives and is not written to as long as
    // the tensor is borrowed.
    unsafe { if last.offset_from(first) == count as isize - 1 { std::slice::from_raw_parts(first, count) } else { &[] } }
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::TensorFromVec;

    use super::*;

    #[test]
    fn what_is_lent_is_what_was_put_in() {
        let numbers: Vec<f32> = (0..24).map(|x| x as f32).collect();
        let tensor = Cpu::default().try_tensor_from_vec(numbers.clone(), (2_usize, 3_usize, 4_usize)).unwrap();
        assert_eq!(lend(&tensor), numbers);
        assert_eq!(lend(&tensor.clone()), numbers);
        let scalar = Cpu::default().try_tensor_from_vec(vec![3.0_f32], ()).unwrap();
        assert_eq!(lend(&scalar), [3.0]);
        let empty = Cpu::default().try_tensor_from_vec(Vec::<f32>::new(), (0_usize, 3_usize)).unwrap();
        assert!(lend(&empty).is_empty());
    }

    #[test]
    fn a_broadcast_tensor_lends_nothing() {
        use dfdx::shapes::Axis;
        use dfdx::tensor_ops::BroadcastTo;
        let row = Cpu::default().try_tensor_from_vec(vec![1.0_f32, 2.0], (2_usize,)).unwrap();
        let table: Tensor<(usize, usize), f32, Cpu> = row.try_broadcast_like::<_, Axis<0>>(&(3_usize, 2_usize)).unwrap();
        assert!(lend(&table).is_empty());
    }
}
