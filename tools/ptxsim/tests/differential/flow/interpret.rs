//! Interprets the programs: each statement for the set of lanes that come to it.

use super::{Condition, LANES, Leave, Program, Statement, Together, VARIABLES, Value, Variables};

struct Frame<'p> {
    program: &'p Program,
    variables: Variables,
    /// Lanes that have left the loops around (this turn; the loop), and the function.
    loops: Vec<[u32; 2]>,
    returned: u32,
}

/// The variables at the end; those of a lane that left are what they were then.
pub fn run(program: &Program, variables: Variables) -> Variables {
    let mut frame = Frame { program, variables, loops: Vec::new(), returned: 0 };
    frame.body(&program.body, !0);
    frame.variables
}

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask & 1 << lane != 0)
}

fn operate(op: &str, a: u32, b: u32) -> u32 {
    let (x, y) = (a as i32, b as i32);
    match op {
        "add.u32" | "add.s32" => a.wrapping_add(b),
        "sub.u32" => a.wrapping_sub(b),
        "mul.lo.u32" => a.wrapping_mul(b),
        "min.s32" => x.min(y) as u32,
        "max.s32" => x.max(y) as u32,
        "min.u32" => a.min(b),
        "max.u32" => a.max(b),
        "and.b32" => a & b,
        "or.b32" => a | b,
        "xor.b32" => a ^ b,
        _ => unreachable!("{op}"),
    }
}

impl Frame<'_> {
    fn value(&self, value: Value, lane: usize) -> u32 {
        match value {
            Value::Variable(v) => self.variables[v][lane],
            Value::Constant(c) => c,
        }
    }

    /// The lanes for which a condition holds.
    fn holds(&self, condition: Condition, mask: u32) -> u32 {
        let (op, ty) = condition.test.split_once('.').expect("an operator and a type");
        lanes(mask)
            .filter(|&lane| {
                let (a, b) = (self.variables[condition.a][lane], self.value(condition.b, lane));
                let order = if ty == "s32" { (a as i32).cmp(&(b as i32)) } else { a.cmp(&b) };
                match op {
                    "lt" => order.is_lt(),
                    "le" => order.is_le(),
                    "gt" => order.is_gt(),
                    "ge" => order.is_ge(),
                    "eq" => order.is_eq(),
                    _ => order.is_ne(),
                }
            })
            .fold(0, |mask, lane| mask | 1 << lane)
    }

    fn guarded(&self, guard: Option<Condition>, mask: u32) -> u32 {
        guard.map_or(mask, |condition| self.holds(condition, mask))
    }

    /// The lanes that come out at the end.
    fn body(&mut self, body: &[Statement], mut mask: u32) -> u32 {
        for statement in body {
            if mask == 0 {
                break;
            }
            mask = self.statement(statement, mask);
        }
        mask
    }

    fn statement(&mut self, statement: &Statement, mask: u32) -> u32 {
        match statement {
            Statement::Assign { d, op, a, b, guard } => {
                for lane in lanes(self.guarded(*guard, mask)) {
                    self.variables[*d][lane] = operate(op, self.variables[*a][lane], self.value(*b, lane));
                }
                mask
            }
            Statement::If { condition, then, otherwise, uniform, .. } => {
                let mut yes = self.holds(*condition, mask);
                if *uniform && yes != 0 {
                    yes = mask;
                }
                self.body(then, yes) | self.body(otherwise, mask & !yes)
            }
            Statement::Loop { turns, bits, bottom, body, .. } => {
                self.turns(*turns, *bits, *bottom, body, mask)
            }
            Statement::Leave { what, condition, .. } => {
                let leaving = self.holds(*condition, mask);
                match what {
                    Leave::Continue => self.loops.last_mut().expect("a loop")[0] |= leaving,
                    Leave::Break => self.loops.last_mut().expect("a loop")[1] |= leaving,
                    Leave::Return => self.returned |= leaving,
                    Leave::Exit => {}
                }
                mask & !leaving
            }
            Statement::Switch { on, cases } => {
                let choice: [usize; LANES] =
                    std::array::from_fn(|l| self.variables[*on][l] as usize % cases.len());
                let (mut falling, mut out) = (0, 0);
                for (i, (case, falls)) in cases.iter().enumerate() {
                    let here = lanes(mask).filter(|&lane| choice[lane] == i).fold(0, |m, lane| m | 1 << lane);
                    let end = self.body(case, here | falling);
                    (falling, out) = if *falls { (end, out) } else { (0, out | end) };
                }
                out | falling
            }
            Statement::Call { d, function, arguments, guard } => {
                let mask_in = self.guarded(*guard, mask);
                let row = |value: Value| std::array::from_fn(|lane| self.value(value, lane));
                let [a, b]: [[u32; LANES]; 2] = arguments.map(row);
                let sum = std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]));
                let mut variables = vec![a, b, sum, [5; LANES]];
                variables.resize(VARIABLES, [0; LANES]);
                let mut frame = Frame { program: self.program, variables, loops: Vec::new(), returned: 0 };
                frame.body(&self.program.functions[*function].body, mask_in);
                for lane in lanes(mask_in) {
                    self.variables[*d][lane] = frame.variables[0][lane];
                }
                mask
            }
            Statement::Together { what, d, a, .. } => {
                self.together(*what, *d, *a, mask);
                mask
            }
            Statement::Barrier | Statement::WarpBarrier { .. } => mask,
        }
    }

    fn turns(&mut self, turns: usize, bits: u32, bottom: bool, body: &[Statement], mut mask: u32) -> u32 {
        let mut left: [u32; LANES] =
            std::array::from_fn(|lane| self.variables[turns][lane] & ((1 << bits) - 1));
        let mut out = 0;
        let mut first = bottom;
        loop {
            let ended =
                lanes(mask).filter(|&lane| left[lane] == 0 && !first).fold(0, |m, lane| m | 1 << lane);
            out |= ended;
            mask &= !ended;
            if mask == 0 {
                return out;
            }
            first = false;
            left = left.map(|turns| turns.saturating_sub(1));
            self.loops.push([0; 2]);
            let through = self.body(body, mask);
            let [continued, broken] = self.loops.pop().expect("pushed above");
            out |= broken;
            mask = through | continued;
        }
    }

    fn together(&mut self, what: Together, d: usize, a: usize, mask: u32) {
        let row = self.variables[a];
        let members: Vec<usize> = lanes(mask).collect();
        let mut out = self.variables[d];
        for &lane in &members {
            out[lane] = match what {
                Together::Shuffle(mode, b, c) => {
                    let (b, lane) = (self.value(b, lane) & 31, lane as u32);
                    let segment = c >> 8 & 31;
                    let (least, most) = (lane & segment, (lane & segment) | (c & 31 & !segment));
                    let (source, valid) = match mode {
                        "up" => (lane.wrapping_sub(b), lane as i32 - b as i32 >= most as i32),
                        "down" => (lane + b, lane + b <= most),
                        "bfly" => (lane ^ b, lane ^ b <= most),
                        _ => (least | b & !segment, least | b & !segment <= most),
                    };
                    row[if valid { source } else { lane } as usize].wrapping_add(valid.into())
                }
                Together::Broadcast => row[*members.last().expect("a lane")],
                Together::Vote(mode, condition) => {
                    let yes = self.holds(condition, mask);
                    // All modes but ballot vote on the opposite.
                    let vote = match mode {
                        "ballot" => {
                            out[lane] = yes;
                            continue;
                        }
                        "all" => yes == 0,
                        "any" => yes != mask,
                        _ => yes == 0 || yes == mask,
                    };
                    if vote { 7 } else { row[lane] }
                }
                Together::Match(true) => members
                    .iter()
                    .filter(|&&other| row[other] == row[lane])
                    .fold(0, |m, other| m | 1 << other),
                Together::Match(false) => {
                    let all = members.iter().all(|&other| row[other] == row[lane]);
                    if all { mask ^ 1 } else { 0 }
                }
                Together::Reduce(op) => {
                    let values = members.iter().map(|&other| row[other]);
                    values.reduce(|x, y| operate(op, x, y)).expect("a lane")
                }
            };
        }
        self.variables[d] = out;
    }
}
