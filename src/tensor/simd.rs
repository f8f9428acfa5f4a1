//! One spelling for vectors of `f32` and `f64`, over `pulp`'s instruction sets (AVX-512, AVX2, NEON, scalar).

use pulp::Simd;

/// An element type with vectors in every instruction set.
pub trait Vectorised: Sized + Copy {
    /// A register of elements.
    type Vector<S: Simd>: Copy;
    /// Elements of a register.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// `v` in every lane.
    fn splat<S: Simd>(simd: S, v: Self) -> Self::Vector<S>;
    /// `a·b + c`, rounded once.
    fn fma<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// `a + b`.
    fn add_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The whole vectors at the front of a slice.
    fn vectors<S: Simd>(slice: &[Self]) -> &[Self::Vector<S>];
    /// The whole vectors at the front of a slice.
    fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [Self::Vector<S>];
    /// At most one vector of elements; missing lanes are 0.
    fn load<S: Simd>(simd: S, slice: &[Self]) -> Self::Vector<S>;
    /// Stores as many lanes as the slice holds, at most one vector.
    fn store<S: Simd>(simd: S, slice: &mut [Self], v: Self::Vector<S>);
}

macro_rules! vectorised {
    ($t:ident, $v:ident, $splat:ident, $mul_add:ident, $add:ident, $head:ident, $head_mut:ident, $load:ident, $store:ident) => {
        impl Vectorised for $t {
            type Vector<S: Simd> = S::$v;
            #[inline(always)]
            fn splat<S: Simd>(simd: S, v: Self) -> S::$v {
                simd.$splat(v)
            }
            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn add_vectors<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn vectors<S: Simd>(slice: &[Self]) -> &[S::$v] {
                S::$head(slice).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [S::$v] {
                S::$head_mut(slice).0
            }
            #[inline(always)]
            fn load<S: Simd>(simd: S, slice: &[Self]) -> S::$v {
                simd.$load(slice)
            }
            #[inline(always)]
            fn store<S: Simd>(simd: S, slice: &mut [Self], v: S::$v) {
                simd.$store(slice, v)
            }
        }
    };
}

vectorised!(
    f32,
    f32s,
    splat_f32s,
    mul_add_f32s,
    add_f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    partial_load_f32s,
    partial_store_f32s
);
vectorised!(
    f64,
    f64s,
    splat_f64s,
    mul_add_f64s,
    add_f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    partial_load_f64s,
    partial_store_f64s
);

/// Elements of a register, and how many registers there are, on this machine.
pub fn registers<T: Vectorised>() -> (usize, usize) {
    struct Query<T>(std::marker::PhantomData<T>);
    impl<T: Vectorised> pulp::WithSimd for Query<T> {
        type Output = (usize, usize);
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> Self::Output {
            (T::lanes::<S>(), S::REGISTER_COUNT)
        }
    }
    pulp::Arch::new().dispatch(Query::<T>(std::marker::PhantomData))
}
