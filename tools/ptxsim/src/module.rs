//! Modules: PTX text to kernels that can be launched, and variables in device memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cuda::Cuda;
use crate::decode::{self, DecodeError, Surroundings};
use crate::device::Device;
use crate::memory::{self, Kind, Memory};
use crate::parse::ast::{self, Initial, Space};
use crate::parse::{ParseError, parse};
use crate::program::Program;

/// A loaded module.
#[derive(Debug)]
pub struct Module {
    kernels: HashMap<String, Arc<Kernel>>,
    variables: HashMap<String, (u64, usize)>,
}

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Name.
    pub name: String,
    /// Parameters, in order.
    pub params: Vec<Param>,
    /// What the driver tells of it.
    pub attributes: Attributes,
    /// Its instructions.
    pub program: Program,
}

/// Where a parameter lies among the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Bytes from the start.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// Alignment in bytes.
    pub align: usize,
}

/// Attributes of a kernel (`CUfunction_attribute`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Most threads of a block.
    pub max_threads: u32,
    /// Bytes of static shared memory.
    pub static_shared: u32,
    /// Bytes of constants.
    pub const_bytes: u32,
    /// Bytes of local memory of a thread.
    pub local_bytes: u32,
    /// Registers of a thread: those that PTX declares, within what hardware has. What ptxas would need it tells.
    pub registers: u32,
    /// PTX version, times ten.
    pub ptx_version: u32,
    /// Compute capability that it runs on, times ten.
    pub binary_version: u32,
}

/// Why a module cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not PTX.
    #[error("PTX {0}")]
    Syntax(#[from] ParseError),
    /// PTX that this machine cannot run.
    #[error("PTX of {0}: {1}")]
    Unsupported(String, DecodeError),
    /// PTX newer than the driver.
    #[error(
        "PTX version {}.{} is newer than {}.{}, the newest of this driver's CUDA {cuda}",
        version.0, version.1, cuda.ptx.0, cuda.ptx.1
    )]
    Version {
        /// Its version.
        version: (u16, u16),
        /// What the driver is of.
        cuda: Cuda,
    },
    /// Code for another GPU.
    #[error("PTX for {0} does not run on {1}")]
    Target(String, String),
    /// A variable's initialiser.
    #[error("variable {0}: {1}")]
    Variable(String, String),
    /// No memory for its variables.
    #[error(transparent)]
    Memory(#[from] memory::Error),
}

impl Module {
    /// Loads PTX text.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing stays allocated.
    pub fn load(ptx: &str, device: &Device, memory: &Memory) -> Result<Module, LoadError> {
        let tree = parse(ptx)?;
        if tree.version > device.cuda.ptx {
            return Err(LoadError::Version { version: tree.version, cuda: device.cuda });
        }
        check_target(&tree.target, device)?;
        let mut module = Module { kernels: HashMap::new(), variables: HashMap::new() };
        match module.fill(&tree, device, memory) {
            Ok(()) => Ok(module),
            Err(e) => {
                module.unload(memory);
                Err(e)
            }
        }
    }

    fn fill(&mut self, tree: &ast::Module, device: &Device, memory: &Memory) -> Result<(), LoadError> {
        let placed = tree.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const));
        let placed: Vec<_> = placed.filter(|v| !v.external).collect();
        let mut addresses = HashMap::new();
        for variable in &placed {
            let bytes = usize::try_from(decode::size(variable)).unwrap_or(usize::MAX).max(1);
            let address = memory.allocate(bytes, Kind::Variable)?;
            self.variables.insert(variable.name.clone(), (address, bytes));
            addresses.insert(variable.name.clone(), address);
        }
        for variable in placed {
            let (address, bytes) = self.variables[&variable.name];
            let image = image(variable, bytes, &addresses)?;
            memory.write(address, &image)?;
        }
        let surroundings = Surroundings { module: tree, addresses: &addresses };
        let const_bytes: u64 =
            tree.variables.iter().filter(|v| v.space == Space::Const).map(decode::size).sum();
        for function in tree.functions.iter().filter(|f| f.entry && f.body.is_some()) {
            let program = decode::decode(function, &surroundings)
                .map_err(|e| LoadError::Unsupported(function.name.clone(), e))?;
            let params = layout(function);
            let attributes = Attributes {
                max_threads: max_threads(function),
                static_shared: program.static_shared,
                const_bytes: u32::try_from(const_bytes).unwrap_or(u32::MAX),
                local_bytes: program.local_bytes,
                // What a block of the largest size would leave to each thread: ptxas decides below that.
                registers: program.registers.clamp(16, 255.min(65_536 / max_threads(function))),
                ptx_version: u32::from(tree.version.0) * 10 + u32::from(tree.version.1),
                binary_version: {
                    let (major, minor) = device.compute_capability();
                    major * 10 + minor
                },
            };
            let kernel = Kernel { name: function.name.clone(), params, attributes, program };
            self.kernels.insert(function.name.clone(), Arc::new(kernel));
        }
        Ok(())
    }

    /// A kernel by name.
    pub fn kernel(&self, name: &str) -> Option<Arc<Kernel>> {
        self.kernels.get(name).cloned()
    }

    /// Names of the kernels, sorted.
    pub fn kernels(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.kernels.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// A variable in global or constant memory: device address and bytes.
    pub fn variable(&self, name: &str) -> Option<(u64, usize)> {
        self.variables.get(name).copied()
    }

    /// Frees the variables.
    pub fn unload(&self, memory: &Memory) {
        for (address, _) in self.variables.values() {
            // Nobody else can have freed them: the addresses of variables are refused by the driver's free.
            let _ = memory.free(*address);
        }
    }
}

/// Code for `sm_80` runs on 8.0 and later; code for `sm_90a` on 9.0 alone.
fn check_target(target: &str, device: &Device) -> Result<(), LoadError> {
    let (major, minor) = device.compute_capability();
    let refuse = || Err(LoadError::Target(target.to_owned(), format!("sm_{major}{minor}")));
    let Some(number) = target.strip_prefix("sm_") else { return refuse() };
    let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let Ok(wanted) = digits.parse::<u32>() else { return refuse() };
    let have = major * 10 + minor;
    let runs = match &number[digits.len()..] {
        "" => wanted <= have,
        "f" => wanted / 10 == have / 10 && wanted <= have,
        _ => wanted == have,
    };
    if runs { Ok(()) } else { refuse() }
}

/// Where the parameters of a kernel lie.
fn layout(function: &ast::Function) -> Vec<Param> {
    let mut offset = 0usize;
    let place = |p: &ast::Variable| {
        let (size, align) = (decode::size(p) as usize, p.align.max(1) as usize);
        let at = offset.next_multiple_of(align);
        offset = at + size;
        Param { offset: at, size, align }
    };
    function.params.iter().map(place).collect()
}

/// `.maxntid` or `.reqntid`, else what hardware has.
fn max_threads(function: &ast::Function) -> u32 {
    let given = function
        .directives
        .iter()
        .find(|(name, _)| matches!(name.trim_start_matches('.'), "maxntid" | "reqntid"));
    given.map_or(1024, |(_, numbers)| numbers.iter().product::<u32>().clamp(1, 1024))
}

/// The initial bytes of a variable.
fn image(
    variable: &ast::Variable,
    bytes: usize,
    addresses: &HashMap<String, u64>,
) -> Result<Vec<u8>, LoadError> {
    let width = usize::from(variable.ty.bits).div_ceil(8);
    let mut image = vec![0; bytes];
    for (slot, value) in image.chunks_mut(width.max(1)).zip(&variable.values) {
        let bits = match value {
            Initial::Bits(bits) => *bits,
            Initial::Address { symbol, offset, .. } => match addresses.get(symbol) {
                Some(address) => address.wrapping_add_signed(*offset),
                None => {
                    let text = format!("address of {symbol}, which is not a variable in memory");
                    return Err(LoadError::Variable(variable.name.clone(), text));
                }
            },
        };
        let len = slot.len().min(8);
        slot[..len].copy_from_slice(&bits.to_le_bytes()[..len]);
    }
    Ok(image)
}
