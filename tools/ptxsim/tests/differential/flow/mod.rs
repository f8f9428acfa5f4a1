//! Random structured control flow: a little program as a tree, written as PTX with branches, and interpreted.

mod emit;
mod generate;
mod interpret;

use rayon::prelude::*;

use super::common::{Machine, Params, Random, grid, told};
use super::setting;

/// Variables of a kernel; a function has the first few of them.
const VARIABLES: usize = 6;
const LANES: usize = 32;
const WARPS: usize = 2;

/// A variable or a constant.
#[derive(Clone, Copy, Debug)]
enum Value {
    Variable(usize),
    Constant(u32),
}

/// `a test b`, such as `lt.s32`.
#[derive(Clone, Copy, Debug)]
struct Condition {
    test: &'static str,
    a: usize,
    b: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    /// The innermost loop.
    Break,
    /// This turn of the innermost loop.
    Continue,
    /// The function.
    Return,
    /// The kernel.
    Exit,
}

/// What lanes do together. `mask` of a [`Statement::Together`] holds the lanes that come.
#[derive(Clone, Copy, Debug)]
enum Together {
    /// `shfl.sync` by mode, of all 32 lanes: source lane or distance, clamp and segments; `in_range` is added to the
    /// result.
    Shuffle(&'static str, Value, u32),
    /// `shfl.sync.idx` of the highest lane that takes part.
    Broadcast,
    /// `vote.sync` by mode: all, any, uni, ballot.
    Vote(&'static str, Condition),
    /// `match.any.sync`, or `match.all.sync`
    Match(bool),
    /// `redux.sync` by operation and type.
    Reduce(&'static str),
}

#[derive(Clone, Debug)]
enum Statement {
    Assign {
        d: usize,
        op: &'static str,
        a: usize,
        b: Value,
        guard: Option<Condition>,
    },
    /// The masks are registers for the lanes of both sides, if collective operations are within.
    If {
        condition: Condition,
        then: Vec<Statement>,
        otherwise: Vec<Statement>,
        masks: Option<[usize; 3]>,
        uniform: bool,
    },
    /// Turns: the low bits of a variable, at least one if tested at the bottom.
    Loop {
        depth: usize,
        turns: usize,
        bits: u32,
        bottom: bool,
        body: Vec<Statement>,
    },
    /// Where a condition holds; `mask` is to lose the lanes.
    Leave {
        what: Leave,
        condition: Condition,
        mask: Option<usize>,
    },
    /// By a variable modulo the number of cases; a case that falls goes on with the next one.
    Switch {
        on: usize,
        cases: Vec<(Vec<Statement>, bool)>,
    },
    Call {
        d: usize,
        function: usize,
        arguments: [Value; 2],
        guard: Option<Condition>,
    },
    Together {
        what: Together,
        d: usize,
        a: usize,
        mask: usize,
    },
    /// `bar.sync` of the block.
    Barrier,
    /// `bar.warp.sync`
    WarpBarrier {
        mask: usize,
    },
}

/// A function: two parameters, one result; by registers or by parameters in memory.
#[derive(Clone, Debug)]
struct Function {
    body: Vec<Statement>,
    by_registers: bool,
}

#[derive(Clone, Debug)]
struct Program {
    functions: Vec<Function>,
    body: Vec<Statement>,
}

type Variables = Vec<[u32; LANES]>;

/// Inputs of a thread.
fn inputs(random: &mut Random) -> Vec<u32> {
    (0..WARPS * LANES * VARIABLES)
        .map(|_| match random.below(3) {
            0 => random.below(8),
            1 => random.below(8).wrapping_neg(),
            _ => random.bits(),
        })
        .collect()
}

/// The first difference, told.
fn differs(program: &Program, inputs: &[u32], schedule: Option<u64>) -> Option<String> {
    let ptx = emit::module(program);
    let mut machine = Machine::new();
    machine.options.seed = schedule;
    machine.options.watchdog = 1 << 22;
    let module = machine.load(&ptx);
    let from = machine.put(inputs);
    let to = machine.put(&vec![0u32; inputs.len()]);
    let params = Params::default().with(from).with(to);
    let outcome = machine.run(&module, "k", grid(1, (WARPS * LANES) as u32, 0), &params);
    if !outcome.findings.is_empty() {
        return Some(format!("findings:\n{}", told(&outcome)));
    }
    let outputs: Vec<u32> = machine.get(to, inputs.len());
    for warp in 0..WARPS {
        let at = |lane: usize, v: usize| (warp * LANES + lane) * VARIABLES + v;
        let start = (0..VARIABLES).map(|v| std::array::from_fn(|lane| inputs[at(lane, v)])).collect();
        let wanted = interpret::run(program, start);
        for lane in 0..LANES {
            for v in 0..VARIABLES {
                let (machine, wanted) = (outputs[at(lane, v)], wanted[v][lane]);
                if machine != wanted {
                    return Some(format!(
                        "%v{v} of warp {warp} lane {lane} is {machine:#x}, {wanted:#x} in the interpreter; inputs {:x?}",
                        &inputs[at(lane, 0)..at(lane + 1, 0)]
                    ));
                }
            }
        }
    }
    None
}

/// Removes statements, at any depth, as long as the difference stays.
fn shrink(program: &Program, inputs: &[u32], schedule: Option<u64>) -> Program {
    let mut program = program.clone();
    let mut at = 0;
    while at < size(&program.body) + program.functions.iter().map(|f| size(&f.body)).sum::<usize>() {
        let mut shorter = program.clone();
        let mut skip = at;
        let bodies = shorter.functions.iter_mut().map(|f| &mut f.body);
        let mut bodies: Vec<_> = std::iter::once(&mut shorter.body).chain(bodies).collect();
        let removed = bodies.iter_mut().any(|body| remove(body, &mut skip));
        if removed && differs(&shorter, inputs, schedule).is_some() {
            program = shorter;
        } else {
            at += 1;
        }
    }
    program
}

fn children(statement: &Statement) -> Vec<&Vec<Statement>> {
    match statement {
        Statement::If { then, otherwise, .. } => vec![then, otherwise],
        Statement::Loop { body, .. } => vec![body],
        Statement::Switch { cases, .. } => cases.iter().map(|(case, _)| case).collect(),
        _ => Vec::new(),
    }
}

fn size(body: &[Statement]) -> usize {
    body.iter().map(|s| 1 + children(s).iter().map(|c| size(c)).sum::<usize>()).sum()
}

/// Removes the statement behind `skip` others.
fn remove(body: &mut Vec<Statement>, skip: &mut usize) -> bool {
    for i in 0..body.len() {
        if *skip == 0 {
            body.remove(i);
            return true;
        }
        *skip -= 1;
        let removed = match &mut body[i] {
            Statement::If { then, otherwise, .. } => remove(then, skip) || remove(otherwise, skip),
            Statement::Loop { body, .. } => remove(body, skip),
            Statement::Switch { cases, .. } => cases.iter_mut().any(|(case, _)| remove(case, skip)),
            _ => false,
        };
        if removed {
            return true;
        }
    }
    false
}

#[test]
fn control_flow() {
    let count = setting("PTXSIM_FLOW_PROGRAMS", 2_000);
    let first = setting("PTXSIM_PROGRAM_SEED", 1);
    let reports: Vec<String> = (first..first + count)
        .into_par_iter()
        .filter_map(|seed| {
            let mut random = Random::new(seed);
            let program = generate::program(&mut random);
            let inputs = inputs(&mut random);
            let schedule = (seed % 3 != 0).then_some(seed);
            differs(&program, &inputs, schedule)?;
            let short = shrink(&program, &inputs, schedule);
            let difference = differs(&short, &inputs, schedule).expect("it still differs");
            Some(format!("program {seed}: {difference}\n{}", emit::module(&short)))
        })
        .collect();
    assert!(
        reports.is_empty(),
        "{} differences\n{}",
        reports.len(),
        reports[..reports.len().min(5)].join("\n")
    );
}
