//! A random program: as data, as PTX, and evaluated.

use std::fmt::Write;

use super::super::common::Random;
use super::super::exact::{F32, F64};
use super::super::form::{Also, Form, Kind};
use super::{Groups, INPUT_BYTES, corner};

pub const LANES: usize = 32;
/// In the order of the discriminants.
pub const KINDS: [Kind; 4] = [Kind::P, Kind::H, Kind::R, Kind::D];
/// Registers that only hold inputs, by kind; they come first.
pub const INPUTS: [usize; 4] = [0, 4, 6, 4];
/// Registers that instructions write, by kind.
pub const TEMPORARIES: [usize; 4] = [4, 6, 10, 6];

pub fn name(kind: Kind, index: usize) -> String {
    let letter = ["p", "h", "r", "d"][kind as usize];
    format!("%{letter}{index}")
}

/// Values by kind, register and lane.
pub type State = [Vec<[u64; LANES]>; 4];

#[derive(Clone, Copy, Debug)]
enum Operand {
    Register(usize),
    Negated(usize),
    Constant(u64),
}

#[derive(Clone, Debug)]
pub struct Instruction {
    pub form: usize,
    guard: Option<(usize, bool)>,
    destinations: Vec<usize>,
    operands: Vec<Operand>,
}

#[derive(Clone)]
pub struct Program {
    pub instructions: Vec<Instruction>,
    /// Inputs of the lanes, by kind and register.
    inputs: State,
}

impl Program {
    pub fn empty() -> Program {
        Program { instructions: Vec::new(), inputs: KINDS.map(|k| vec![[0; LANES]; INPUTS[k as usize]]) }
    }

    /// Appends a form on the first registers.
    pub fn push_plain(&mut self, form: &Form) {
        let operands = form.sources.iter().map(|source| match source.1 {
            Also::Constant(_) => Operand::Constant(0),
            _ => Operand::Register(0),
        });
        self.instructions.push(Instruction {
            form: 0,
            guard: None,
            destinations: (0..form.destinations.len())
                .map(|i| INPUTS[form.destinations[0] as usize] + i)
                .collect(),
            operands: operands.collect(),
        });
    }

    pub fn random(seed: u64, forms: &[Form], groups: &Groups) -> Program {
        let random = &mut Random::new(seed);
        let mut program = Program::empty();
        for kind in [Kind::H, Kind::R, Kind::D] {
            for (i, row) in program.inputs[kind as usize].iter_mut().enumerate() {
                for lane in row.iter_mut() {
                    // The first two 32-bit registers serve as shift amounts and positions.
                    *lane = match (kind, i) {
                        (Kind::R, 0) => random.below(70).into(),
                        (Kind::R, 1) => {
                            u64::from(random.below(70)) * if random.below(4) == 0 { 37 } else { 1 }
                        }
                        _ => corner::any(random, kind.bits()),
                    };
                }
            }
        }
        let length = 10 + random.below(51) as usize;
        while program.instructions.len() < length {
            let guard = (random.below(6) == 0).then(|| (random.below(4) as usize, random.below(2) == 1));
            if random.below(25) == 0 {
                chain(&mut program.instructions, random, forms, guard);
            } else {
                let form = groups.pick(random);
                program.instructions.push(instruction(random, forms, form, guard));
            }
        }
        program
    }

    /// Inputs as they lie in memory: `r` (6 words, the two last after the four others), `h`, `d`.
    pub fn input_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LANES * INPUT_BYTES);
        for lane in 0..LANES {
            let start = bytes.len();
            for kind in [Kind::R, Kind::H, Kind::D] {
                for row in &self.inputs[kind as usize] {
                    bytes.extend_from_slice(&row[lane].to_le_bytes()[..kind.bits() as usize / 8]);
                }
            }
            bytes.resize(start + INPUT_BYTES, 0);
        }
        bytes
    }

    /// The registers before the first instruction: temporaries hold inputs, in turn; predicates the lane's bits.
    fn start(&self) -> State {
        let mut state = self.inputs.clone();
        for kind in [Kind::H, Kind::R, Kind::D] {
            for t in 0..TEMPORARIES[kind as usize] {
                let row = state[kind as usize][t % INPUTS[kind as usize]];
                state[kind as usize].push(row);
            }
        }
        state[Kind::P as usize] = (0..TEMPORARIES[Kind::P as usize])
            .map(|t| std::array::from_fn(|lane| (lane >> t & 1) as u64))
            .collect();
        state
    }

    /// Appends a kernel with the parameters of the addresses of inputs and outputs.
    pub fn write(&self, ptx: &mut String, name: &str, forms: &[Form]) {
        let _ = write!(
            ptx,
            ".visible .entry {name}(.param .u64 in, .param .u64 out) {{
.reg .pred %p<4>; .reg .b16 %h<10>; .reg .b32 %r<16>; .reg .b64 %d<10>;
.reg .pred %px; .reg .b16 %hx; .reg .b32 %rx, %lane, %w<4>; .reg .b64 %dx, %in, %out;
mov.u32 %lane, %tid.x; ld.param.u64 %in, [in]; ld.param.u64 %out, [out];
mad.wide.u32 %in, %lane, 80, %in; mad.wide.u32 %out, %lane, 128, %out;
ld.global.v4.b32 {{%r0,%r1,%r2,%r3}}, [%in]; ld.global.v2.b32 {{%r4,%r5}}, [%in+16];
ld.global.v4.b16 {{%h0,%h1,%h2,%h3}}, [%in+24];
ld.global.v2.b64 {{%d0,%d1}}, [%in+32]; ld.global.v2.b64 {{%d2,%d3}}, [%in+48];
"
        );
        for kind in [Kind::H, Kind::R, Kind::D] {
            let (inputs, bits) = (INPUTS[kind as usize], kind.bits());
            for t in 0..TEMPORARIES[kind as usize] {
                let _ = writeln!(
                    ptx,
                    "mov.b{bits} {}, {};",
                    self::name(kind, inputs + t),
                    self::name(kind, t % inputs)
                );
            }
        }
        for t in 0..4 {
            let _ = writeln!(ptx, "and.b32 %rx, %lane, {}; setp.ne.u32 %p{t}, %rx, 0;", 1 << t);
        }
        for instruction in &self.instructions {
            instruction.write(ptx, forms);
        }
        for t in 0..4 {
            let _ = writeln!(ptx, "selp.b32 %w{t}, 1, 0, %p{t};");
        }
        ptx.push_str(
            "st.global.v4.b32 [%out], {%w0,%w1,%w2,%w3};
st.global.v4.b32 [%out+16], {%r6,%r7,%r8,%r9}; st.global.v4.b32 [%out+32], {%r10,%r11,%r12,%r13};
st.global.v2.b32 [%out+48], {%r14,%r15}; st.global.v2.b64 [%out+64], {%d4,%d5};
st.global.v2.b64 [%out+80], {%d6,%d7}; st.global.v2.b64 [%out+96], {%d8,%d9};
st.global.v4.b16 [%out+112], {%h4,%h5,%h6,%h7}; st.global.v2.b16 [%out+120], {%h8,%h9};
ret;
}
",
        );
    }

    /// The registers after the last instruction.
    pub fn evaluate(&self, forms: &[Form]) -> State {
        let mut state = self.start();
        let mut carry = [0; LANES];
        for instruction in &self.instructions {
            let form = &forms[instruction.form];
            for lane in 0..LANES {
                let active = instruction.guard.is_none_or(|(p, negated)| (state[0][p][lane] == 1) != negated);
                if active {
                    instruction.step(form, &mut state, lane, &mut carry[lane]);
                }
                // Canonical NaNs, also where the guard does not hold.
                if let Some(ty) = form.any_nan {
                    let format = if ty == "f32" { F32 } else { F64 };
                    let value = &mut state[form.destinations[0] as usize][instruction.destinations[0]][lane];
                    if format.is_nan(*value) {
                        *value = format.nan();
                    }
                }
            }
        }
        state
    }

    /// The inputs of a lane, for a report.
    pub fn tell_inputs(&self, lane: usize) -> String {
        let mut text = "with".to_owned();
        for kind in [Kind::H, Kind::R, Kind::D] {
            for (i, row) in self.inputs[kind as usize].iter().enumerate() {
                let _ = write!(text, " {} = {:#x}", name(kind, i), row[lane]);
            }
        }
        text + "; registers that nothing wrote hold these in turn\n"
    }
}

impl Instruction {
    fn step(&self, form: &Form, state: &mut State, lane: usize, carry: &mut u64) {
        let mut sources = [0; 6];
        for (i, (operand, source)) in self.operands.iter().zip(&form.sources).enumerate() {
            let rows = &state[source.0 as usize];
            sources[i] = match *operand {
                Operand::Register(r) => rows[r][lane],
                Operand::Negated(r) => 1 - rows[r][lane],
                Operand::Constant(value) => value,
            };
        }
        let mut count = form.sources.len();
        if form.reads_carry {
            sources[count] = *carry;
            count += 1;
        }
        let results = (form.function)(&sources[..count]);
        for ((kind, &d), result) in form.destinations.iter().zip(&self.destinations).zip(results) {
            state[*kind as usize][d][lane] = result;
        }
        if form.writes_carry {
            *carry = results[form.destinations.len()];
        }
    }

    /// Appends the instruction as PTX.
    pub fn write(&self, ptx: &mut String, forms: &[Form]) {
        let form = &forms[self.form];
        let mut text = form.text.clone();
        for (i, (kind, &d)) in form.destinations.iter().zip(&self.destinations).enumerate() {
            text = text.replace(&format!("${i}"), &name(*kind, d));
        }
        for (i, (source, operand)) in form.sources.iter().zip(&self.operands).enumerate() {
            let operand = match *operand {
                Operand::Register(r) => name(source.0, r),
                Operand::Negated(r) => format!("!{}", name(source.0, r)),
                Operand::Constant(value) => constant(source.0, source.1, value),
            };
            text = text.replace(&format!("&{i}"), &operand);
        }
        let guard = match self.guard {
            Some((p, negated)) => format!("@{}%p{p} ", if negated { "!" } else { "" }),
            None => String::new(),
        };
        for statement in text.split_inclusive("; ") {
            let _ = write!(ptx, "{guard}{statement}");
        }
        if let Some(ty) = form.any_nan {
            let (kind, nan) = if ty == "f32" { (Kind::R, F32.nan()) } else { (Kind::D, F64.nan()) };
            let d = name(kind, self.destinations[0]);
            let _ = write!(ptx, " testp.notanumber.{ty} %px, {d}; @%px mov.b{} {d}, {nan:#x};", kind.bits());
        }
        ptx.push('\n');
    }
}

/// A constant as PTX spells it: hexadecimal or decimal, signed or not.
fn constant(kind: Kind, also: Also, value: u64) -> String {
    match also {
        Also::Single => format!("0f{value:08X}"),
        Also::Double => format!("0d{value:016X}"),
        _ if value % 3 == 0 => format!("{value:#x}"),
        _ => {
            let shift = 64 - kind.bits();
            format!("{}", (value << shift) as i64 >> shift)
        }
    }
}

fn instruction(
    random: &mut Random,
    forms: &[Form],
    form: usize,
    guard: Option<(usize, bool)>,
) -> Instruction {
    let Form { destinations, sources, .. } = &forms[form];
    let mut written: Vec<usize> = Vec::new();
    for kind in destinations {
        loop {
            let d = INPUTS[*kind as usize] + random.below(TEMPORARIES[*kind as usize] as u32) as usize;
            if !written.contains(&d) {
                written.push(d);
                break;
            }
        }
    }
    let operands = sources.iter().map(|source| {
        let kind = source.0;
        let constant = random.below(5) == 0;
        let (inputs, all) = (INPUTS[kind as usize], INPUTS[kind as usize] + TEMPORARIES[kind as usize]);
        match source.1 {
            Also::Constant(bound) => return Operand::Constant(random.below(bound).into()),
            Also::Small if constant => return Operand::Constant(random.below(70).into()),
            Also::Small if random.below(4) > 0 => return Operand::Register(random.below(2) as usize),
            Also::Integer if constant => return Operand::Constant(corner::integer(random, kind.bits())),
            Also::Single if constant => return Operand::Constant(corner::float(random, F32)),
            Also::Double if constant => return Operand::Constant(corner::float(random, F64)),
            Also::Negated if random.below(2) == 0 => {
                return Operand::Negated(random.below(all as u32) as usize);
            }
            _ => {}
        }
        let among = if random.below(2) == 0 && inputs > 0 { inputs } else { all };
        Operand::Register(random.below(among as u32) as usize)
    });
    let operands = operands.collect();
    Instruction { form, guard, destinations: written, operands }
}

/// A sum or difference of several words.
fn chain(to: &mut Vec<Instruction>, random: &mut Random, forms: &[Form], guard: Option<(usize, bool)>) {
    let op = if random.below(2) == 0 { "add" } else { "sub" };
    let middle = random.below(3) as usize;
    let names = ["%.cc.u32"].into_iter().chain(std::iter::repeat_n("%c.cc.u32", middle)).chain(["%c.u32"]);
    for name in names {
        let name = name.replace('%', op);
        let form = forms.iter().position(|f| f.text.starts_with(&format!("{name} "))).expect("a form");
        to.push(instruction(random, forms, form, guard));
    }
}
