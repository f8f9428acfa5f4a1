//! Random straight-line programs.

mod corner;
mod program;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::common::{Machine, Params, Random, grid, told};
use super::form::{Form, Forms, Kind};
use super::{convert, float, integer, setting};
use program::{INPUTS, KINDS, LANES, Program, TEMPORARIES};

/// Bytes that hold a lane's inputs, and its results.
const INPUT_BYTES: usize = 80;
const OUTPUT_BYTES: usize = 128;
const HEADER: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n";

fn all_forms() -> Vec<Form> {
    let mut forms = Forms::default();
    integer::forms(&mut forms);
    float::forms(&mut forms);
    convert::forms(&mut forms);
    forms.0
}

/// Forms by opcode, so that opcodes with many forms do not crowd out the others.
pub struct Groups(Vec<Vec<usize>>);

impl Groups {
    fn new(forms: &[Form]) -> Groups {
        let mut groups = HashMap::<&str, Vec<usize>>::new();
        for (i, form) in forms.iter().enumerate() {
            if !form.reads_carry && !form.writes_carry {
                let opcode = form.text.split('.').next().unwrap_or_default();
                let opcode = if form.text.contains("%hx") { "div16" } else { opcode };
                groups.entry(opcode).or_default().push(i);
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort();
        let conversions = groups.iter().max_by_key(|g| g.len()).cloned().unwrap_or_default();
        groups.extend([conversions.clone(), conversions]);
        Groups(groups)
    }

    pub fn pick(&self, random: &mut Random) -> usize {
        let group = &self.0[random.below(self.0.len() as u32) as usize];
        group[random.below(group.len() as u32) as usize]
    }
}

/// A difference: what a register of a lane holds, and what it should.
struct Difference {
    program: usize,
    register: String,
    lane: usize,
    machine: u64,
    evaluator: u64,
}

/// Runs programs on the machine and in the evaluator; the first difference.
fn differs(programs: &[Program], forms: &[Form]) -> Option<Difference> {
    let mut ptx = HEADER.to_owned();
    let mut inputs = Vec::new();
    for (i, program) in programs.iter().enumerate() {
        program.write(&mut ptx, &format!("k{i}"), forms);
        inputs.extend(program.input_bytes());
    }
    let mut machine = Machine::new();
    machine.options.check = false;
    let module = machine.load(&ptx);
    let from = machine.put(&inputs);
    let bytes = programs.len() * LANES * OUTPUT_BYTES;
    let to = machine.put(&vec![0u8; bytes]);
    for i in 0..programs.len() {
        let params = Params::default()
            .with(from + (i * LANES * INPUT_BYTES) as u64)
            .with(to + (i * LANES * OUTPUT_BYTES) as u64);
        let outcome = machine.run(&module, &format!("k{i}"), grid(1, LANES as u32, 0), &params);
        assert!(outcome.findings.is_empty(), "{}\n{ptx}", told(&outcome));
    }
    let outputs: Vec<u8> = machine.get(to, bytes);
    for (i, program) in programs.iter().enumerate() {
        let state = program.evaluate(forms);
        for lane in 0..LANES {
            let output = &outputs[(i * LANES + lane) * OUTPUT_BYTES..][..OUTPUT_BYTES];
            for kind in KINDS {
                for t in 0..TEMPORARIES[kind as usize] {
                    let (offset, size) = match kind {
                        Kind::P => (4 * t, 4),
                        Kind::R => (16 + 4 * t, 4),
                        Kind::D => (64 + 8 * t, 8),
                        Kind::H => (112 + 2 * t, 2),
                    };
                    let mut word = [0; 8];
                    word[..size].copy_from_slice(&output[offset..offset + size]);
                    let index = INPUTS[kind as usize] + t;
                    let (machine, evaluator) = (u64::from_le_bytes(word), state[kind as usize][index][lane]);
                    if machine != evaluator {
                        let register = program::name(kind, index);
                        return Some(Difference { program: i, register, lane, machine, evaluator });
                    }
                }
            }
        }
    }
    None
}

/// The shortest program found that still differs, with the difference.
fn shrink(program: &Program, forms: &[Form]) -> (Program, Difference) {
    let mut program = program.clone();
    let mut difference = differs(std::slice::from_ref(&program), forms).expect("it differed");
    loop {
        let before = program.instructions.len();
        for i in (0..before).rev() {
            let mut shorter = program.clone();
            shorter.instructions.remove(i);
            if let Some(still) = differs(std::slice::from_ref(&shorter), forms) {
                (program, difference) = (shorter, still);
            }
        }
        if program.instructions.len() == before {
            return (program, difference);
        }
    }
}

fn report(seed: u64, program: &Program, forms: &[Form]) -> String {
    let (program, difference) = shrink(program, forms);
    let Difference { register, lane, machine, evaluator, .. } = difference;
    let mut text = format!(
        "program {seed}: {register} of lane {lane} is {machine:#x} on the machine, {evaluator:#x} in the evaluator\n"
    );
    for instruction in &program.instructions {
        instruction.write(&mut text, forms);
    }
    text + &program.tell_inputs(lane)
}

#[test]
fn straight_line_programs() {
    let forms = all_forms();
    let groups = Groups::new(&forms);
    let programs = setting("PTXSIM_PROGRAMS", 20_000);
    let first = setting("PTXSIM_PROGRAM_SEED", 1);
    let used: Vec<_> = forms.iter().map(|_| AtomicU32::new(0)).collect();
    const BATCH: u64 = 100;
    let reports: Vec<String> = (0..programs.div_ceil(BATCH))
        .into_par_iter()
        .filter_map(|batch| {
            let seed = first + batch * BATCH;
            let count = BATCH.min(programs - batch * BATCH);
            let programs: Vec<_> =
                (seed..seed + count).map(|s| Program::random(s, &forms, &groups)).collect();
            for instruction in programs.iter().flat_map(|p| &p.instructions) {
                used[instruction.form].fetch_add(1, Ordering::Relaxed);
            }
            let difference = differs(&programs, &forms)?;
            Some(report(seed + difference.program as u64, &programs[difference.program], &forms))
        })
        .collect();
    assert!(
        reports.is_empty(),
        "{} differences\n{}",
        reports.len(),
        reports[..reports.len().min(40)].join("\n")
    );
    let unused = used.iter().filter(|n| n.load(Ordering::Relaxed) == 0).count();
    println!("{programs} programs of {} forms, {unused} of which none used", forms.len());
    assert!(programs < 20_000 || unused == 0, "{unused} forms are never used");
}

#[test]
fn every_form_is_decoded() {
    let unknown: Vec<String> = all_forms()
        .iter()
        .filter_map(|form| {
            let mut ptx = HEADER.to_owned();
            let mut program = Program::empty();
            program.push_plain(form);
            program.write(&mut ptx, "k", std::slice::from_ref(form));
            let machine = Machine::new();
            let error = machine.try_load(&ptx).err()?;
            Some(format!("{}: {error}", form.text))
        })
        .collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}
