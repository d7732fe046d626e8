//! The operations as compositions of dfdx's: for devices without kernels of their own, and what those are tested against.

use dfdx::shapes::{Axis, HasShape};
use dfdx::tensor::{Gradients, Tape};
use dfdx::tensor_ops::{BroadcastTo, ReshapeTo, SumTo, TryAdd, TryDiv, TryMatMul, TryMul, TrySub};

use super::{Activation, AdamStep, EPSILON, Linear, Matrix, NnDevice, Scalar, SgdStep, Update};

/// See [`NnDevice::linear`].
pub(super) fn linear<D: NnDevice, T: Tape<f32, D>>(layer: &Linear<'_, D>, x: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    let z = x.try_matmul(layer.weight.clone())?;
    let z = add_row(z, layer.bias)?;
    let y = match layer.activation {
        Activation::Identity => z,
        Activation::Relu => z.try_relu()?,
        Activation::Gelu => z.try_fast_gelu()?,
        Activation::Silu => z.retaped::<T>().try_sigmoid()?.try_mul(z)?,
        Activation::Sigmoid => z.try_sigmoid()?,
        Activation::Tanh => z.try_tanh()?,
    };
    match &layer.mask {
        Some(mask) => y.try_mul(mask.clone()),
        None => Ok(y),
    }
}

/// See [`super::total`].
pub(super) fn total<D: NnDevice, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Scalar<D, T>, D::Err> {
    x.try_sum()
}

/// See [`NnDevice::residual`].
pub(super) fn residual<D: NnDevice, T: Tape<f32, D>>(x: Matrix<D, T>, skip: &Matrix<D>) -> Result<Matrix<D, T>, D::Err> {
    x.try_add(skip.clone())
}

/// See [`NnDevice::layer_norm`].
pub(super) fn layer_norm<D: NnDevice, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    gain: &Matrix<D>,
    shift: &Matrix<D>,
) -> Result<Matrix<D, T>, D::Err> {
    let x = x.try_normalize::<Axis<1>>(EPSILON)?;
    let (shape, columns) = (*x.shape(), x.shape().1);
    let gain = gain.retaped::<T>().try_reshape_like(&(columns,))?.try_broadcast_like::<_, Axis<0>>(&shape)?;
    add_row(x.try_mul(gain)?, shift)
}

/// See [`NnDevice::cross_entropy`].
pub(super) fn cross_entropy<D: NnDevice, T: Tape<f32, D>>(
    logits: Matrix<D, T>,
    targets: &Matrix<D>,
) -> Result<Scalar<D, T>, D::Err> {
    logits.try_log_softmax::<Axis<1>>()?.try_mul(targets.clone())?.try_sum()?.try_negate()
}

/// See [`NnDevice::squared_error`].
pub(super) fn squared_error<D: NnDevice, T: Tape<f32, D>>(
    predictions: Matrix<D, T>,
    targets: &Matrix<D>,
    weights: &Matrix<D>,
) -> Result<Scalar<D, T>, D::Err> {
    predictions.try_sub(targets.clone())?.try_square()?.try_mul(weights.clone())?.try_sum()
}

/// See [`NnDevice::squared_norm`].
pub(super) fn squared_norm<D: NnDevice>(gradients: &mut Gradients<f32, D>, parameters: &[&Matrix<D>]) -> Result<f64, D::Err> {
    let mut square = 0.0;
    for parameter in parameters {
        let sum: Scalar<D> = gradient(gradients, parameter)?.try_square()?.try_sum()?;
        square += super::values(&sum).iter().map(|&sum| f64::from(sum)).sum::<f64>();
    }
    Ok(square)
}

/// See [`NnDevice::adamw`].
pub(super) fn adamw<D: NnDevice>(
    step: &AdamStep,
    gradients: &mut Gradients<f32, D>,
    updates: Vec<Update<'_, D, 2>>,
) -> Result<(), D::Err> {
    for Update { rate, decay, parameter, moments: [first, second] } in updates {
        let (penalty, decay) = if step.coupled { (decay, 0.0) } else { (0.0, decay) };
        let g = gradient(gradients, parameter)?.try_mul(step.scale)?.try_add(parameter.clone().try_mul(penalty)?)?;
        *first = first.clone().try_mul(step.betas[0])?.try_add(g.clone().try_mul(1.0 - step.betas[0])?)?;
        *second = second.clone().try_mul(step.betas[1])?.try_add(g.try_square()?.try_mul(1.0 - step.betas[1])?)?;
        let root = second.clone().try_mul(step.corrections[1])?.try_sqrt()?.try_add(step.epsilon)?;
        let change = first.clone().try_mul(rate * step.corrections[0])?.try_div(root)?;
        *parameter = parameter.clone().try_mul(1.0 - rate * decay)?.try_sub(change)?;
    }
    Ok(())
}

/// See [`NnDevice::sgd`].
pub(super) fn sgd<D: NnDevice>(
    step: &SgdStep,
    gradients: &mut Gradients<f32, D>,
    updates: Vec<Update<'_, D, 1>>,
) -> Result<(), D::Err> {
    for Update { rate, decay, parameter, moments: [moment] } in updates {
        let penalty = parameter.clone().try_mul(decay)?;
        let g = gradient(gradients, parameter)?.try_mul(step.scale)?.try_add(penalty)?;
        *moment = moment.clone().try_mul(step.momentum)?.try_add(g.clone())?;
        let change = if step.nesterov { g.try_add(moment.clone().try_mul(step.momentum)?)? } else { moment.clone() };
        *parameter = parameter.clone().try_sub(change.try_mul(rate)?)?;
    }
    Ok(())
}

/// `x` with a row added to each of its rows.
fn add_row<D: NnDevice, T: Tape<f32, D>>(x: Matrix<D, T>, row: &Matrix<D>) -> Result<Matrix<D, T>, D::Err> {
    let (shape, columns) = (*x.shape(), x.shape().1);
    x.try_add(row.retaped::<T>().try_reshape_like(&(columns,))?.try_broadcast_like::<_, Axis<0>>(&shape)?)
}

/// A parameter's gradient, 0 where the loss does not depend on it.
pub(super) fn gradient<D: NnDevice>(gradients: &mut Gradients<f32, D>, parameter: &Matrix<D>) -> Result<Matrix<D>, D::Err> {
    gradients.try_alloc_for(parameter)?;
    Ok(gradients.get(parameter))
}
