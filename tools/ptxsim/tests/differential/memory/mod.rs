//! Random loads, stores and atomic operations of threads on slices of memory that are theirs alone.

mod program;

use rayon::prelude::*;

use super::common::{Machine, Params, Random, grid, told};
use super::setting;
use program::{Program, SLICE};

const BLOCKS: usize = 2;
const THREADS: usize = 64;
/// Bytes of the results of a thread: registers, and its slices of shared and local memory.
const OUTPUT: usize = 224;
/// Bytes of the parameter and of the constant that threads read.
const FIXED: usize = 64;

/// The first difference, told.
fn differs(program: &Program, data: &Data, schedule: Option<u64>) -> Option<String> {
    let ptx = program.ptx(&data.constant);
    let mut machine = Machine::new();
    machine.options.seed = schedule;
    let module = machine.load(&ptx);
    let slices = machine.put(&data.global);
    let threads = BLOCKS * THREADS;
    let out = machine.put(&vec![0u8; threads * OUTPUT]);
    let params = Params::default().with(slices).with(out).with_bytes(&data.parameter, 16);
    let outcome = machine.run(&module, "k", grid(BLOCKS as u32, THREADS as u32, 0), &params);
    if !outcome.findings.is_empty() {
        return Some(format!("findings:\n{}", told(&outcome)));
    }
    let outputs: Vec<u8> = machine.get(out, threads * OUTPUT);
    let global: Vec<u8> = machine.get(slices, threads * SLICE);
    for thread in 0..threads {
        let slice = |bytes: &[u8], size: usize| bytes[thread * size..][..size].to_vec();
        let wanted = program.evaluate(slice(&data.global, SLICE), data, thread % THREADS);
        let found = [slice(&outputs, OUTPUT), slice(&global, SLICE)].concat();
        if let Some(at) = (0..found.len()).find(|&i| found[i] != wanted[i]) {
            return Some(format!(
                "byte {at} of the results of thread {thread} is {:#x}, {:#x} in the evaluator",
                found[at], wanted[at]
            ));
        }
    }
    None
}

/// What programs start from.
struct Data {
    global: Vec<u8>,
    parameter: Vec<u8>,
    constant: Vec<u8>,
}

impl Data {
    fn random(random: &mut Random) -> Data {
        let mut bytes = |count: usize| (0..count).map(|_| random.bits() as u8).collect();
        Data { global: bytes(BLOCKS * THREADS * SLICE), parameter: bytes(FIXED), constant: bytes(FIXED) }
    }
}

#[test]
fn memory_programs() {
    let count = setting("PTXSIM_MEMORY_PROGRAMS", 2_000);
    let first = setting("PTXSIM_PROGRAM_SEED", 1);
    let reports: Vec<String> = (first..first + count)
        .into_par_iter()
        .filter_map(|seed| {
            let mut random = Random::new(seed);
            let mut program = Program::random(&mut random);
            let data = Data::random(&mut random);
            let schedule = (seed % 4 != 0).then_some(seed);
            let mut difference = differs(&program, &data, schedule)?;
            let mut at = 0;
            while at < program.accesses.len() {
                let mut shorter = program.clone();
                shorter.accesses.remove(at);
                match differs(&shorter, &data, schedule) {
                    Some(still) => (program, difference) = (shorter, still),
                    None => at += 1,
                }
            }
            Some(format!("program {seed}: {difference}\n{}", program.text()))
        })
        .collect();
    assert!(
        reports.is_empty(),
        "{} differences\n{}",
        reports.len(),
        reports[..reports.len().min(8)].join("\n")
    );
}
