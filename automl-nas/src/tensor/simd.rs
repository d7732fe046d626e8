//! Loops compiled for the widest registers that the processor has.
//!
//! The program is built for any x86-64, whose registers hold four floats. A [`Kernel`] is compiled a second time, for AVX2
//! with fused multiplication and addition, by `pulp`, which asks the processor and keeps the unsafe call to itself. Kernels are
//! plain loops over arrays of constant size, which the compiler turns into vector instructions; all that they call must be
//! inlined into them.

/// A computation that is worth its own machine code.
pub(super) trait Kernel {
    /// What it gives.
    type Output;

    /// The computation; `FMA` says whether [`fma`] is one instruction. Always inline it.
    fn run<const FMA: bool>(self) -> Self::Output;
}

struct Fused<K>(K);

impl<K: Kernel> pulp::NullaryFnOnce for Fused<K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.0.run::<true>()
    }
}

/// Runs a kernel with the best instructions at hand.
pub(super) fn vectorised<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(fused) = pulp::x86::V3::try_new() {
            return fused.vectorize(Fused(kernel));
        }
    }
    kernel.run::<{ cfg!(target_arch = "aarch64") }>()
}

/// `a b + c`, rounded once where that costs nothing.
#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines a function that runs its body as a [`Kernel`]. `FMA` is a constant within the body, and closures given to it are
/// part of what is compiled.
macro_rules! kernel {
    ($(#[$about:meta])* $seen:vis fn $name:ident<$life:lifetime>($($argument:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$about])*
        $seen fn $name<$life>($($argument: $type),*) $(-> $out)? {
            struct Arguments<$life> { $($argument: $type),* }
            impl<$life> $crate::tensor::simd::Kernel for Arguments<$life> {
                type Output = kernel!(@out $($out)?);

                #[inline(always)]
                fn run<const FMA: bool>(self) -> Self::Output {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            $crate::tensor::simd::vectorised(Arguments { $($argument),* })
        }
    };
    (@out) => { () };
    (@out $out:ty) => { $out };
}
pub(super) use kernel;
