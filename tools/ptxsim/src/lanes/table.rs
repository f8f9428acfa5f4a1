//! The form of the tables of arithmetic: a row gives an instruction's name, its PTX spellings (without modifiers
//! that the decoder turns into instructions of their own: `.ftz`, `.sat`, `.relu`), its types, and what a lane
//! computes.

use super::registers::{Cells, LANES, Reg, Value};

/// Operands of an arithmetic instruction: destination and up to four sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operands {
    /// Destination: a register, or a predicate for a test.
    pub d: Reg,
    /// Sources, those not used left at 0.
    pub s: [Reg; 4],
}

/// Width of what an instruction reads and writes, for the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Bits of the destination's cell, 1 for a predicate.
    pub out: u32,
    /// Number of sources.
    pub sources: usize,
    /// Bits of each source's cell.
    pub bits: [u32; 4],
}

pub(super) const fn signature<const N: usize>(out: usize, sources: [usize; N]) -> Signature {
    let mut bits = [0; 4];
    let mut i = 0;
    while i < N {
        bits[i] = 8 * sources[i] as u32;
        i += 1;
    }
    Signature { out: 8 * out as u32, sources: N, bits }
}

macro_rules! cell_bytes {
    ($ty:ty) => {
        size_of::<<$ty as Value>::Cell>()
    };
}

/// A table: how it runs, its name, and a row an instruction.
///
/// `vectors` compiles each instruction for the caller's vector extension, all lanes inline; `calls` once, as a function
/// of one lane.
macro_rules! operations {
    ($(#[$doc:meta])* $how:ident $table:ident: $($name:ident $($key:literal)+ : ($($arg:ident: $ty:ty),+) -> $out:ty = $body:expr;)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // named as in PTX; the table says what each does
        pub enum $table { $($name),+ }

        impl $table {
            /// By PTX name.
            pub fn named(name: &str) -> Option<$table> {
                match name {
                    $($($key)|+ => Some($table::$name),)+
                    _ => None,
                }
            }

            /// What it reads and writes.
            pub fn signature(self) -> Signature {
                match self {
                    $($table::$name => const { signature(cell_bytes!($out), [$(cell_bytes!($ty)),+]) },)+
                }
            }
        }

        $how! { $table: $($name ($($arg: $ty),+) -> $out = $body;)+ }
    };
}

macro_rules! vectors {
    ($table:ident: $($name:ident $args:tt -> $out:ty = $body:expr;)+) => {
        impl $table {
            /// Computes all lanes and writes those of `mask`. Each instruction is a function of its own: one large
            /// function would take the compiler minutes.
            #[inline]
            pub fn run<S: pulp::Simd>(self, simd: S, registers: &mut [Cells], operands: &Operands, mask: u32) {
                match self {
                    $($table::$name => {
                        struct Lanes<'a>(&'a mut [Cells], &'a Operands, u32);
                        impl pulp::NullaryFnOnce for Lanes<'_> {
                            type Output = ();
                            #[inline(always)]
                            fn call(self) {
                                let Lanes(registers, operands, mask) = self;
                                lanes!(registers, operands, mask, $args -> $out, $body)
                            }
                        }
                        simd.vectorize(Lanes(registers, operands, mask))
                    })+
                }
            }
        }
    };
}

macro_rules! calls {
    ($table:ident: $($name:ident ($($arg:ident: $ty:ty),+) -> $out:ty = $body:expr;)+) => {
        impl $table {
            /// Computes all lanes and writes those of `mask`.
            pub fn run(self, registers: &mut [Cells], operands: &Operands, mask: u32) {
                match self {
                    $($table::$name => each::<($($ty,)+), $out>(registers, operands, mask, |($($arg,)+)| $body),)+
                }
            }
        }
    };
}

macro_rules! lanes {
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty) -> $out:ty, $body:expr) => {{
        let x = load::<$A>($r, $o.s[0]);
        store::<$out>($r, $o.d, $m, |l| {
            let $a = <$A>::get(x[l]);
            $body
        })
    }};
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty, $b:ident: $B:ty) -> $out:ty, $body:expr) => {{
        let (x, y) = (load::<$A>($r, $o.s[0]), load::<$B>($r, $o.s[1]));
        store::<$out>($r, $o.d, $m, |l| {
            let ($a, $b) = (<$A>::get(x[l]), <$B>::get(y[l]));
            $body
        })
    }};
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty) -> $out:ty, $body:expr) => {{
        let (x, y, z) = (load::<$A>($r, $o.s[0]), load::<$B>($r, $o.s[1]), load::<$C>($r, $o.s[2]));
        store::<$out>($r, $o.d, $m, |l| {
            let ($a, $b, $c) = (<$A>::get(x[l]), <$B>::get(y[l]), <$C>::get(z[l]));
            $body
        })
    }};
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty, $d:ident: $D:ty)
        -> $out:ty, $body:expr) => {{
        let (x, y) = (load::<$A>($r, $o.s[0]), load::<$B>($r, $o.s[1]));
        let (z, w) = (load::<$C>($r, $o.s[2]), load::<$D>($r, $o.s[3]));
        store::<$out>($r, $o.d, $m, |l| {
            let ($a, $b) = (<$A>::get(x[l]), <$B>::get(y[l]));
            let ($c, $d) = (<$C>::get(z[l]), <$D>::get(w[l]));
            $body
        })
    }};
}

#[inline(always)]
pub(super) fn load<V: Value>(registers: &[Cells], at: Reg) -> [V::Cell; LANES] {
    <V::Cell as super::registers::Cell>::load(registers, at)
}

#[inline(always)]
pub(super) fn store<V: Value>(registers: &mut [Cells], at: Reg, mask: u32, f: impl Fn(usize) -> V) {
    let mut out: [V::Cell; LANES] = bytemuck::Zeroable::zeroed();
    for lane in 0..LANES {
        out[lane] = f(lane).put();
    }
    <V::Cell as super::registers::Cell>::store(registers, at, out, mask);
}

/// Values of one lane that an instruction reads.
pub(super) trait Sources {
    /// Those of all lanes.
    type Rows;
    /// From the registers.
    fn load(registers: &[Cells], at: &[Reg; 4]) -> Self::Rows;
    /// Those of a lane.
    fn of(rows: &Self::Rows, lane: usize) -> Self;
}

macro_rules! sources {
    ($($ty:ident $index:tt),+) => {
        impl<$($ty: Value),+> Sources for ($($ty,)+) {
            type Rows = ($([$ty::Cell; LANES],)+);
            fn load(registers: &[Cells], at: &[Reg; 4]) -> Self::Rows {
                ($(load::<$ty>(registers, at[$index]),)+)
            }
            fn of(rows: &Self::Rows, lane: usize) -> Self {
                ($($ty::get(rows.$index[lane]),)+)
            }
        }
    };
}

sources!(A 0);
sources!(A 0, B 1);
sources!(A 0, B 1, C 2);
sources!(A 0, B 1, C 2, D 3);

/// Calls `f` for each lane and writes those of `mask`: one function for all instructions of the same types.
#[inline(never)]
pub(super) fn each<I: Sources, O: Value>(
    registers: &mut [Cells],
    operands: &Operands,
    mask: u32,
    f: fn(I) -> O,
) {
    let rows = I::load(registers, &operands.s);
    store(registers, operands.d, mask, |lane| f(I::of(&rows, lane)));
}

pub(super) use {calls, cell_bytes, lanes, operations, vectors};
