//! What the tests share: PTX from nvcc, and a machine to run it on.
#![allow(dead_code)] // each test program uses a part

pub mod conv;
pub mod driver;
pub mod small;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use half::bf16;
use ptxsim::device::Device;
use ptxsim::launch::{Config, Finding, Options, Outcome, launch};
use ptxsim::memory::{Kind, Memory};
use ptxsim::module::{LoadError, Module};

/// nvcc: `$NVCC`, `$CUDA_HOME/bin/nvcc`, on PATH, or where the workspace keeps one.
fn nvcc() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let named = var("NVCC").map(PathBuf::from);
    let home = var("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nvcc"));
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cuda/nvidia/cu13/bin/nvcc");
    named.into_iter().chain(home).chain(on_path).chain([local]).find(|nvcc| nvcc.is_file())
}

/// PTX of `tests/kernels/<file>` with macros defined; `None`, said aloud, without nvcc. Compiled once.
pub fn compile(file: &str, arch: &str, defines: &[&str]) -> Option<String> {
    type Compiled = HashMap<String, Arc<OnceLock<Option<String>>>>;
    static COMPILED: Mutex<Option<Compiled>> = Mutex::new(None);
    let key = format!("{file} {arch} {defines:?}");
    let cell = {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.get_or_insert_default().entry(key).or_default().clone()
    };
    cell.get_or_init(|| compile_now(file, arch, defines)).clone()
}

fn compile_now(file: &str, arch: &str, defines: &[&str]) -> Option<String> {
    let Some(nvcc) = nvcc() else {
        assert!(
            std::env::var_os("PTXSIM_REQUIRE_NVCC").is_none(),
            "no nvcc, which PTXSIM_REQUIRE_NVCC asks for"
        );
        println!("skipped: no nvcc to compile {file}");
        return None;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.ptx");
    let run = Command::new(nvcc)
        .current_dir(kernels())
        .args(["-ptx", "-std=c++17", "-lineinfo", &format!("-arch={arch}"), "-o"])
        .arg(&out)
        .args(defines.iter().map(|d| format!("-D{d}")))
        .arg(file)
        .output()
        .expect("nvcc runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(std::fs::read_to_string(out).expect("nvcc wrote PTX"))
}

/// Where the kernels are.
fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels")
}

/// The lines of a `.cu` file that a finding names: its own, and that of the call of an inlined function.
pub fn source_line(finding: &Finding, file: &str) -> Option<String> {
    let of_file = |place: &str| {
        let (path, line) = place.rsplit_once(':')?;
        (Path::new(path).file_name()? == file).then(|| line.parse::<usize>().ok())?
    };
    let text = std::fs::read_to_string(kernels().join(file)).expect("the kernels are here");
    let places = finding.source.as_deref()?.split(", called at ").filter_map(of_file);
    places
        .map(|number| text.lines().nth(number - 1))
        .collect::<Option<Vec<_>>>()
        .map(|lines| lines.join("\n"))
}

/// Asserts that a finding says where it is: in this kernel, in the grid, on an instruction of the PTX.
pub fn assert_place(finding: &Finding, ptx: &str, kernel: &str, config: Config) {
    assert_eq!(finding.kernel, kernel, "{finding}");
    assert!((0..3).all(|axis| finding.block[axis] < config.grid[axis]), "{finding}");
    let thread = finding.thread.unwrap_or_else(|| panic!("no thread: {finding}"));
    assert!((0..3).all(|axis| thread[axis] < config.block[axis]), "{finding}");
    let line = ptx.lines().nth(finding.line as usize - 1).unwrap_or_default();
    assert!(line.trim_end().ends_with(';'), "PTX line {} is {line:?}: {finding}", finding.line);
}

/// Schedules tried: the plain one and seeded ones.
pub fn seeds() -> impl Iterator<Item = Option<u64>> {
    std::iter::once(None).chain((0..8).map(Some))
}

/// Small whole numbers, so that sums are exact in any order.
pub fn integers(count: usize, seed: u64) -> Vec<bf16> {
    let mut random = Random::new(seed);
    (0..count).map(|_| bf16::from_f32(random.below(5) as f32 - 2.0)).collect()
}

/// A device and its memory.
pub struct Machine {
    /// Global memory.
    pub memory: Memory,
    /// Options of launches.
    pub options: Options,
    device: Device,
}

impl Machine {
    /// An idle machine, as the environment describes it.
    pub fn new() -> Machine {
        Machine {
            memory: Memory::new(1 << 32).expect("address space"),
            options: Options::default(),
            device: Machine::device(),
        }
    }

    /// The device that the environment describes.
    pub fn device() -> Device {
        Device::from_env().expect("the environment names a device")
    }

    /// An idle machine with a schedule.
    pub fn seeded(seed: Option<u64>) -> Machine {
        let mut machine = Machine::new();
        machine.options.seed = seed;
        machine
    }

    /// Memory that holds some values.
    pub fn put<T: bytemuck::NoUninit>(&self, values: &[T]) -> u64 {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let address = self.room(bytes.len());
        self.memory.write(address, bytes).expect("just allocated");
        address
    }

    /// Memory that nothing has written.
    pub fn room(&self, bytes: usize) -> u64 {
        self.memory.allocate(bytes, Kind::Device).expect("enough memory")
    }

    /// Values from memory.
    pub fn get<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, address: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::zeroed(); count];
        self.memory.read(address, bytemuck::cast_slice_mut(&mut values)).expect("in bounds");
        values
    }

    /// A module.
    pub fn load(&self, ptx: &str) -> Module {
        self.try_load(ptx).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A module, or why it is none.
    pub fn try_load(&self, ptx: &str) -> Result<Module, LoadError> {
        Module::load(ptx, &self.device, &self.memory)
    }

    /// Runs a kernel.
    pub fn run(&self, module: &Module, kernel: &str, config: Config, params: &Params) -> Outcome {
        let kernel = module.kernel(kernel).unwrap_or_else(|| panic!("no kernel {kernel}"));
        launch(&kernel, &config, &params.0, &self.memory, &self.options)
    }
}

/// Parameters, laid out as C does.
#[derive(Default)]
pub struct Params(Vec<u8>);

impl Params {
    /// Appends one, aligned to its size (a struct: to 8, a tensor map: to 64).
    pub fn with<T: bytemuck::NoUninit>(mut self, value: T) -> Params {
        let align = size_of::<T>().next_power_of_two().clamp(1, 8);
        self.pad(align);
        self.0.extend_from_slice(bytemuck::bytes_of(&value));
        self
    }

    /// Appends bytes at an alignment.
    pub fn with_bytes(mut self, bytes: &[u8], align: usize) -> Params {
        self.pad(align);
        self.0.extend_from_slice(bytes);
        self
    }

    fn pad(&mut self, align: usize) {
        self.0.resize(self.0.len().next_multiple_of(align), 0);
    }
}

/// A one-dimensional launch.
pub fn grid(blocks: u32, threads: u32, dynamic_shared: u32) -> Config {
    Config { grid: [blocks, 1, 1], block: [threads, 1, 1], dynamic_shared }
}

/// Findings in one line each, for messages.
pub fn told(outcome: &Outcome) -> String {
    outcome.findings.iter().map(|f| format!("{f}\n")).collect()
}

/// Pseudo-random numbers that are the same everywhere.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32
    }

    /// Below a bound.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(bound)) >> 32) as u32
    }
}
