//! A program of accesses: made, written as PTX, evaluated on bytes.

use std::fmt::Write;

use super::super::common::Random;
use super::super::form::mask;
use super::super::integer::value;
use super::{Data, OUTPUT};

/// Bytes of a thread's slice in each state space.
pub const SLICE: usize = 64;
/// Registers of 16, 32 and 64 bits.
const REGISTERS: [usize; 3] = [4, 8, 6];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Space {
    Global,
    Shared,
    Local,
    Parameter,
    Constant,
}

/// How an instruction names a state space, and the register or symbol of the slice's address there.
const FORMS: [(Space, &str, &str); 15] = [
    (Space::Global, ".global", "%gp"),
    (Space::Global, ".global", "%gp"),
    (Space::Global, "", "%gp"),
    (Space::Shared, ".shared", "%sp"),
    (Space::Shared, ".shared", "%sw"),
    (Space::Shared, ".shared::cta", "%sp"),
    (Space::Shared, "", "%sg"),
    (Space::Local, ".local", "%lp"),
    (Space::Local, ".local", "loc"),
    (Space::Local, "", "%lg"),
    (Space::Parameter, ".param", "blob"),
    (Space::Parameter, "", "%pg"),
    (Space::Constant, ".const", "cst"),
    (Space::Constant, ".const", "%cp"),
    (Space::Constant, "", "%cg"),
];

/// A register: class (16, 32, 64 bits) and number.
#[derive(Clone, Copy, Debug)]
struct Register(usize, usize);

impl Register {
    fn name(self) -> String {
        format!("%{}{}", ["h", "r", "d"][self.0], self.1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Offset {
    Bytes(usize),
    /// A 32-bit register modulo the number of places, times the width.
    Register(usize),
}

#[derive(Clone, Debug)]
enum What {
    /// With its modifiers before the state space and after it.
    Load(&'static str, &'static str),
    Store(&'static str, &'static str),
    /// By operation; `None` for `red`; the operands `b` and, for `cas`, `c`.
    Atomic(&'static str, Option<Register>, Register, Register),
}

#[derive(Clone, Debug)]
pub struct Access {
    what: What,
    form: usize,
    ty: &'static str,
    offset: Offset,
    /// `None` for `_`.
    registers: Vec<Option<Register>>,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub accesses: Vec<Access>,
}

/// Registers by class, and memory by space.
struct State {
    registers: [Vec<u64>; 3],
    memory: [Vec<u8>; 5],
}

fn width(ty: &str) -> u32 {
    ty[1..].parse().expect("a type is a letter and its bits")
}

impl Program {
    pub fn random(random: &mut Random) -> Program {
        let count = 6 + random.below(35);
        Program { accesses: (0..count).map(|_| access(random)).collect() }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for access in &self.accesses {
            access.write(&mut text);
        }
        text
    }

    pub fn ptx(&self, constant: &[u8]) -> String {
        let bytes: Vec<String> = constant.iter().map(u8::to_string).collect();
        let mut ptx = format!(
            ".version 9.0\n.target sm_90a\n.address_size 64\n.const .align 16 .b8 cst[64] = {{{}}};
.visible .entry k(.param .u64 slices, .param .u64 results, .param .align 16 .b8 blob[64]) {{
.reg .b16 %h<4>; .reg .b32 %r<8>, %x, %xa, %sp, %lp, %tid, %ctaid; .reg .b64 %d<6>, %out, %ya;
.reg .b64 %gp, %sw, %sg, %lg, %pg, %cp, %cg;
.shared .align 16 .b8 slab[{}]; .local .align 16 .b8 loc[64];
mov.u32 %tid, %tid.x; mov.u32 %ctaid, %ctaid.x; mad.lo.u32 %x, %ctaid, {}, %tid;
ld.param.u64 %gp, [slices]; mad.wide.u32 %gp, %x, {SLICE}, %gp;
ld.param.u64 %out, [results]; mad.wide.u32 %out, %x, {OUTPUT}, %out;
mov.u32 %sp, slab; mad.lo.u32 %sp, %tid, {SLICE}, %sp; cvt.u64.u32 %sw, %sp; cvta.shared.u64 %sg, %sw;
mov.u32 %lp, loc; mov.u64 %lg, loc; cvta.local.u64 %lg, %lg;
mov.u64 %pg, blob; cvta.param.u64 %pg, %pg; mov.u64 %cp, cst; cvta.const.u64 %cg, %cp;
ld.global.v2.b64 {{%d0,%d1}}, [%gp]; ld.global.v2.b64 {{%d2,%d3}}, [%gp+16];
ld.global.v2.b64 {{%d4,%d5}}, [%gp+32]; ld.global.v4.b32 {{%r0,%r1,%r2,%r3}}, [%gp+48];
",
            bytes.join(","),
            super::THREADS * SLICE,
            super::THREADS,
        );
        for (space, at) in [(".shared", "%sp"), (".local", "loc")] {
            for (i, pair) in ["%d0,%d1", "%d2,%d3", "%d4,%d5", "%d1,%d0"].iter().enumerate() {
                let _ = writeln!(ptx, "st{space}.v2.b64 [{at}+{}], {{{pair}}};", 16 * i);
            }
        }
        ptx.push_str("mov.b32 %r4, %r0; mov.b32 %r5, %r1; mov.b32 %r6, %r2; mov.b32 %r7, %tid;\n");
        ptx.push_str("mov.b32 {%h0,%h1}, %r1; mov.b32 {%h2,%h3}, %r2;\n");
        ptx.push_str(&self.text());
        ptx.push_str(
            "st.global.v4.b32 [%out], {%r0,%r1,%r2,%r3}; st.global.v4.b32 [%out+16], {%r4,%r5,%r6,%r7};
st.global.v2.b64 [%out+32], {%d0,%d1}; st.global.v2.b64 [%out+48], {%d2,%d3};
st.global.v2.b64 [%out+64], {%d4,%d5}; st.global.v4.b16 [%out+80], {%h0,%h1,%h2,%h3};\n",
        );
        for (space, at, to) in [(".shared", "%sp", 96), (".local", "loc", 160)] {
            for i in 0..8 {
                let _ = writeln!(
                    ptx,
                    "ld{space}.b64 %d0, [{at}+{}]; st.global.b64 [%out+{}], %d0;",
                    8 * i,
                    to + 8 * i
                );
            }
        }
        ptx + "ret;\n}\n"
    }

    /// The results of a thread, and its slice of global memory, as bytes.
    pub fn evaluate(&self, global: Vec<u8>, data: &Data, thread: usize) -> Vec<u8> {
        let word = |at: usize, bytes: usize| read(&global[at..at + bytes]);
        let d: Vec<u64> = (0..6).map(|i| word(8 * i, 8)).collect();
        let r: Vec<u64> =
            [48, 52, 56, 60, 48, 52, 56].map(|at| word(at, 4)).into_iter().chain([thread as u64]).collect();
        let h = [r[1], r[1] >> 16, r[2], r[2] >> 16].map(|v| v & 0xffff).to_vec();
        let own =
            [0, 1, 2, 3, 4, 5, 1, 0].iter().flat_map(|&i: &usize| d[i].to_le_bytes()).collect::<Vec<u8>>();
        let memory = [global.clone(), own.clone(), own, data.parameter.clone(), data.constant.clone()];
        let mut state = State { registers: [h, r, d], memory };
        for access in &self.accesses {
            access.step(&mut state);
        }
        let mut out = Vec::with_capacity(OUTPUT + SLICE);
        for (class, bytes) in [(1, 4), (2, 8), (0, 2)] {
            for register in &state.registers[class] {
                out.extend_from_slice(&register.to_le_bytes()[..bytes]);
            }
        }
        out.resize(96, 0);
        for space in [Space::Shared, Space::Local, Space::Global] {
            out.extend_from_slice(&state.memory[space as usize]);
        }
        out
    }
}

fn read(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

impl Access {
    fn bytes(&self) -> usize {
        width(self.ty) as usize / 8 * self.registers.len().max(1)
    }

    fn step(&self, state: &mut State) {
        let at = match self.offset {
            Offset::Bytes(at) => at,
            Offset::Register(r) => state.registers[1][r] as usize % (SLICE / self.bytes()) * self.bytes(),
        };
        let bits = width(self.ty);
        let each = bits as usize / 8;
        let memory = &mut state.memory[FORMS[self.form].0 as usize];
        match &self.what {
            What::Load(..) => {
                for (i, register) in self.registers.iter().enumerate() {
                    let Some(Register(class, number)) = *register else { continue };
                    let raw = read(&memory[at + i * each..][..each]);
                    let signed = value(raw, bits, self.ty.starts_with('s')) as u64;
                    state.registers[class][number] = signed & mask(16 << class);
                }
            }
            What::Store(..) => {
                for (i, register) in self.registers.iter().enumerate() {
                    let Some(Register(class, number)) = *register else { continue };
                    let bytes = state.registers[class][number].to_le_bytes();
                    memory[at + i * each..][..each].copy_from_slice(&bytes[..each]);
                }
            }
            What::Atomic(op, old, b, c) => {
                let before = read(&memory[at..at + each]);
                let [b, c] = [b, c].map(|r| state.registers[r.0][r.1]);
                let sign = self.ty.starts_with('s');
                let less = |a: u64, b: u64| value(a, bits, sign) < value(b, bits, sign);
                let after = match *op {
                    "add" => before.wrapping_add(b),
                    "min" => {
                        if less(b, before) {
                            b
                        } else {
                            before
                        }
                    }
                    "max" => {
                        if less(before, b) {
                            b
                        } else {
                            before
                        }
                    }
                    "inc" => {
                        if before >= b {
                            0
                        } else {
                            before + 1
                        }
                    }
                    "dec" => {
                        if before == 0 || before > b {
                            b
                        } else {
                            before - 1
                        }
                    }
                    "and" => before & b,
                    "or" => before | b,
                    "xor" => before ^ b,
                    "exch" => b,
                    _ => {
                        if before == b {
                            c
                        } else {
                            before
                        }
                    }
                };
                memory[at..at + each].copy_from_slice(&after.to_le_bytes()[..each]);
                if let Some(old) = old {
                    state.registers[old.0][old.1] = before;
                }
            }
        }
    }

    fn write(&self, ptx: &mut String) {
        let (_, space, base) = FORMS[self.form];
        let at = match self.offset {
            Offset::Bytes(0) => base.to_owned(),
            Offset::Bytes(at) => format!("{base}+{at}"),
            Offset::Register(r) => {
                let (places, bytes) = (SLICE / self.bytes(), self.bytes());
                let _ = write!(ptx, "and.b32 %x, %r{r}, {}; ", places - 1);
                if matches!(base, "%sp" | "%lp") {
                    let _ = write!(ptx, "mad.lo.u32 %xa, %x, {bytes}, {base}; ");
                    "%xa".to_owned()
                } else {
                    let _ = write!(ptx, "mad.wide.u32 %ya, %x, {bytes}, {base}; ");
                    "%ya".to_owned()
                }
            }
        };
        let names: Vec<_> = self.registers.iter().map(|r| r.map_or("_".to_owned(), Register::name)).collect();
        let (vector, names) = match names.len() {
            0 | 1 => (String::new(), names.concat()),
            n => (format!(".v{n}"), format!("{{{}}}", names.join(", "))),
        };
        let ty = self.ty;
        let _ = match &self.what {
            What::Load(before, after) => {
                writeln!(ptx, "ld{before}{space}{after}{vector}.{ty} {names}, [{at}];")
            }
            What::Store(before, after) => {
                writeln!(ptx, "st{before}{space}{after}{vector}.{ty} [{at}], {names};")
            }
            What::Atomic(op, old, b, c) => {
                let (b, c) = (b.name(), if *op == "cas" { format!(", {}", c.name()) } else { String::new() });
                match old {
                    Some(old) => writeln!(ptx, "atom{space}.{op}.{ty} {}, [{at}], {b}{c};", old.name()),
                    None => writeln!(ptx, "red{space}.{op}.{ty} [{at}], {b};"),
                }
            }
        };
    }
}

fn one_of<T: Copy>(random: &mut Random, list: &[T]) -> T {
    list[random.below(list.len() as u32) as usize]
}

fn access(random: &mut Random) -> Access {
    let register =
        |random: &mut Random, class: usize| Register(class, random.below(REGISTERS[class] as u32) as usize);
    let form = random.below(FORMS.len() as u32) as usize;
    let (space, named, base) = FORMS[form];
    let shared = matches!(space, Space::Global | Space::Shared);
    let fixed = matches!(space, Space::Parameter | Space::Constant);
    let mut access =
        Access { what: What::Load("", ""), form, ty: "b32", offset: Offset::Bytes(0), registers: Vec::new() };
    if shared && random.below(5) == 0 {
        const ATOMICS: [(&str, &[&str]); 10] = [
            ("add", &["u32", "s32", "u64"]),
            ("min", &["u32", "s32", "u64", "s64"]),
            ("max", &["u32", "s32", "u64", "s64"]),
            ("inc", &["u32"]),
            ("dec", &["u32"]),
            ("and", &["b32", "b64"]),
            ("or", &["b32", "b64"]),
            ("xor", &["b32", "b64"]),
            ("exch", &["b32", "b64"]),
            ("cas", &["b32", "b64", "b16"]),
        ];
        let (op, types) = one_of(random, &ATOMICS);
        access.ty = one_of(random, types);
        let class = width(access.ty).ilog2() as usize - 4;
        let reduces = !matches!(op, "exch" | "cas") && random.below(2) == 0;
        let old = (!reduces).then(|| register(random, class));
        access.what = What::Atomic(op, old, register(random, class), register(random, class));
    } else {
        let strong = ["", "", "", ".volatile", ".relaxed.gpu", ".relaxed.cta", ".weak"];
        let before = if shared { one_of(random, &strong) } else { "" };
        let cached = named == ".global" && matches!(before, "" | ".weak");
        let stores = !fixed && random.below(2) == 0;
        access.what = if stores {
            What::Store(before, if cached { one_of(random, &["", ".wb", ".cg", ".cs"]) } else { "" })
        } else {
            What::Load(
                before,
                if cached { one_of(random, &["", ".ca", ".cg", ".L1::no_allocate"]) } else { "" },
            )
        };
        const TYPES: [&str; 14] =
            ["b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"];
        access.ty = one_of(random, &TYPES);
        let bits = width(access.ty);
        let most = (16 / (bits / 8)).min(4);
        let count = 1 << random.below(most.ilog2() + 1);
        let least = bits.max(16).ilog2() as usize - 4;
        while access.registers.len() < count {
            // Floats and the elements of vectors have registers of their own width; integers may have wider ones.
            let wider = if access.ty.starts_with('f') { 0 } else { random.below(3 - least as u32) as usize };
            let chosen = register(random, least + wider);
            let twice = access.registers.iter().flatten().any(|r| r.name() == chosen.name());
            if twice && !stores {
                continue;
            }
            let sink = !stores && count > 1 && random.below(8) == 0;
            access.registers.push((!sink).then_some(chosen));
        }
    }
    let bytes = access.bytes();
    let dynamic = base.starts_with('%') && random.below(2) == 0;
    access.offset = match dynamic {
        true => Offset::Register(random.below(REGISTERS[1] as u32) as usize),
        false => Offset::Bytes(random.below((SLICE / bytes) as u32) as usize * bytes),
    };
    access
}
