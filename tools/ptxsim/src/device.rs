//! What the simulated machine looks like to a program that asks.

use crate::cuda::Cuda;

/// The device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its architecture.
    pub architecture: Architecture,
    /// Bytes of its memory.
    pub memory: usize,
    /// The CUDA that its driver is of.
    pub cuda: Cuda,
}

/// An architecture that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Turing, as a Quadro RTX 6000 has it.
    Sm75,
    /// Ampere, as an A100 has it.
    Sm80,
    /// Hopper, as an H100 has it; `sm_90a` code too.
    Sm90,
}

/// Limits that launches are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Threads of a block.
    pub block_threads: u32,
    /// Extent of a block: x, y, z.
    pub block: [u32; 3],
    /// Extent of a grid in blocks: x, y, z.
    pub grid: [u32; 3],
    /// Bytes of shared memory of a block without the kernel's opting in to more.
    pub block_shared: u32,
    /// The same after opting in.
    pub block_shared_optin: u32,
    /// Bytes of shared memory that the system takes of each block.
    pub reserved_shared: u32,
    /// Bytes of shared memory of a multiprocessor.
    pub shared: u32,
    /// Blocks get shared memory in multiples of so many bytes.
    pub shared_unit: u32,
    /// 32-bit registers of a multiprocessor, and of a block.
    pub registers: u32,
    /// Threads of a multiprocessor.
    pub threads: u32,
    /// Blocks of a multiprocessor.
    pub blocks: u32,
}

impl Device {
    /// A device as `PTXSIM_DEVICE` (`sm_75`, `sm_80` or `sm_90`, the default) and `PTXSIM_MEMORY` (bytes, with `K`, `M`
    /// or `G` for powers of 1024; by default what the GPU has) describe it, with the driver of `PTXSIM_CUDA`.
    ///
    /// # Errors
    /// The variable and its value, if it makes no sense.
    pub fn from_env() -> Result<Device, String> {
        let value = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let cuda = Cuda::from_env()?;
        Device::parse(value("PTXSIM_DEVICE").as_deref(), value("PTXSIM_MEMORY").as_deref(), cuda)
    }

    fn parse(device: Option<&str>, memory: Option<&str>, cuda: Cuda) -> Result<Device, String> {
        let architecture = match device {
            Some("sm_75") => Architecture::Sm75,
            Some("sm_80") => Architecture::Sm80,
            Some("sm_90" | "sm_90a") | None => Architecture::Sm90,
            Some(other) => return Err(format!("PTXSIM_DEVICE is {other}; it can be sm_75, sm_80 or sm_90")),
        };
        let memory = match memory {
            None if architecture == Architecture::Sm75 => 24 << 30,
            None => 80 << 30,
            Some(text) => bytes(text).ok_or_else(|| {
                format!("PTXSIM_MEMORY is {text}; it is a number of bytes, such as 512M or 2G")
            })?,
        };
        Ok(Device { architecture, memory, cuda })
    }

    /// Its name, which no one can take for a GPU's.
    pub fn name(&self) -> &'static str {
        match self.architecture {
            Architecture::Sm75 => "ptxsim sm_75 (simulated on the CPU, not a GPU)",
            Architecture::Sm80 => "ptxsim sm_80 (simulated on the CPU, not a GPU)",
            Architecture::Sm90 => "ptxsim sm_90 (simulated on the CPU, not a GPU)",
        }
    }

    /// Compute capability: `(9, 0)` for `sm_90`.
    pub fn compute_capability(&self) -> (u32, u32) {
        match self.architecture {
            Architecture::Sm75 => (7, 5),
            Architecture::Sm80 => (8, 0),
            Architecture::Sm90 => (9, 0),
        }
    }

    /// Limits of a launch (CUDA C++ Programming Guide, "Technical specifications per compute capability"; the unit of
    /// shared memory, `cuda_occupancy.h`). The system takes none of Turing's shared memory.
    pub fn limits(&self) -> Limits {
        let (multiprocessors, shared, reserved_shared) = match self.architecture {
            Architecture::Sm75 => (72, 64 << 10, 0),
            Architecture::Sm80 => (108, 164 << 10, 1024),
            Architecture::Sm90 => (132, 228 << 10, 1024),
        };
        let (shared_unit, threads, blocks) = match self.architecture {
            Architecture::Sm75 => (256, 1024, 16),
            Architecture::Sm80 | Architecture::Sm90 => (128, 2048, 32),
        };
        Limits {
            multiprocessors,
            block_threads: 1024,
            block: [1024, 1024, 64],
            grid: [i32::MAX as u32, 65_535, 65_535],
            block_shared: 48 << 10,
            block_shared_optin: shared - reserved_shared,
            reserved_shared,
            shared,
            shared_unit,
            registers: 65_536,
            threads,
            blocks,
        }
    }

    /// A `CUdevice_attribute` (CUDA driver API, "Device management"); `None` if the number is none of CUDA 13.0's.
    pub fn attribute(&self, attribute: i32) -> Option<i32> {
        let limits = self.limits();
        let (major, minor) = self.compute_capability();
        let of = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let by = |hopper: i32, ampere: i32, turing: i32| match self.architecture {
            Architecture::Sm90 => hopper,
            Architecture::Sm80 => ampere,
            Architecture::Sm75 => turing,
        };
        Some(match attribute {
            // Blocks and grids: threads, extents, shared memory and registers.
            1 => of(limits.block_threads),
            2..=4 => of(limits.block[attribute as usize - 2]),
            5..=7 => of(limits.grid[attribute as usize - 5]),
            8 => of(limits.block_shared),
            12 => of(limits.registers),
            97 => of(limits.block_shared_optin),
            111 => of(limits.reserved_shared),
            // Multiprocessors: number, threads, shared memory, registers and blocks of each.
            16 => of(limits.multiprocessors),
            39 => of(limits.threads),
            81 => of(limits.shared),
            82 => of(limits.registers),
            106 => of(limits.blocks),
            // Constant memory, warp size, pitch of copies, compute capability.
            9 => 64 << 10,
            10 => 32,
            11 => i32::MAX,
            75 => of(major),
            76 => of(minor),
            // Clocks of the chip and of the memory in kHz, width of the memory's bus in bits, size of the L2 cache.
            13 => by(1_980_000, 1_410_000, 1_770_000),
            36 => by(2_619_000, 1_215_000, 7_001_000),
            37 => by(5120, 5120, 384),
            38 => by(50 << 20, 40 << 20, 6 << 20),
            // Copy engines, ratio of single- to double-precision rate, memory synchronisation domains.
            40 => 3,
            87 => by(2, 2, 32),
            126 => 1,
            // Alignments and extents of textures and surfaces, as the GPUs report them; none can be made.
            14 | 30 => 512,
            51 => 32,
            21 | 22 | 70..=72 | 77 => 131_072,
            23 => 65_536,
            24..=26 | 47..=49 => 16_384,
            27 | 28 | 42 | 45 | 46 | 52..=63 | 66..=68 | 73 | 74 => 32_768,
            29 | 43 | 64 | 65 => 2048,
            69 => 1 << 28,
            // Clusters and tensor maps.
            120 | 127 => by(1, 0, 0),
            // There are: copies beside kernels (15), mapped host memory (19), concurrent kernels (31), unified
            // addressing (41), gathers (44), stream priorities (78), L1 caches (79, 80), managed memory (83), also
            // concurrently (89), preemption (90), registered memory at its own address (91, 99), cooperative
            // launches (95) and memory pools (115).
            15 | 19 | 31 | 41 | 44 | 78..=80 | 83 | 89..=91 | 95 | 99 | 115 => 1,
            // NUMA nodes of the device and of the host: none.
            131 | 134 => -1,
            // All else is not there, or is the default.
            17..=147 => 0,
            _ => return None,
        })
    }
}

/// A number of bytes with an optional suffix.
fn bytes(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: usize = digits.parse().ok()?;
    // 64 TiB: more than that does not fit the address space twice.
    number.checked_mul(1 << shift).filter(|n| (1..=1 << 45).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(device: Option<&str>, memory: Option<&str>) -> Result<Device, String> {
        Device::parse(device, memory, Cuda::default())
    }

    #[test]
    fn the_environment_is_read_or_refused_by_name() {
        let device = parse(None, None).unwrap();
        assert_eq!(device.compute_capability(), (9, 0));
        assert_eq!(device.memory, 80 << 30);
        let device = parse(Some("sm_80"), Some("512M")).unwrap();
        assert_eq!((device.compute_capability(), device.memory), ((8, 0), 512 << 20));
        let device = parse(Some("sm_75"), None).unwrap();
        assert_eq!((device.compute_capability(), device.memory), ((7, 5), 24 << 30));
        assert_eq!(parse(None, Some("4096")).unwrap().memory, 4096);
        assert!(parse(Some("sm_70"), None).unwrap_err().contains("PTXSIM_DEVICE is sm_70"));
        for bad in ["", "M", "-1", "1.5G", "0", "99999999999G", "é"] {
            assert!(parse(None, Some(bad)).unwrap_err().contains("PTXSIM_MEMORY"), "{bad}");
        }
    }

    #[test]
    fn attributes_are_those_of_the_gpus() {
        let [h100, a100, rtx6000] =
            [None, Some("sm_80"), Some("sm_75")].map(|device| parse(device, None).unwrap());
        for (attribute, of_h100, of_a100, of_rtx6000) in [
            (1, 1024, 1024, 1024),
            (8, 49_152, 49_152, 49_152),
            (16, 132, 108, 72),
            (39, 2048, 2048, 1024),
            (75, 9, 8, 7),
            (76, 0, 0, 5),
            (81, 233_472, 167_936, 65_536),
            (97, 232_448, 166_912, 65_536),
            (106, 32, 32, 16),
            (111, 1024, 1024, 0),
            (115, 1, 1, 1),
            (127, 1, 0, 0),
        ] {
            assert_eq!(h100.attribute(attribute), Some(of_h100), "attribute {attribute}");
            assert_eq!(a100.attribute(attribute), Some(of_a100), "attribute {attribute}");
            assert_eq!(rtx6000.attribute(attribute), Some(of_rtx6000), "attribute {attribute}");
        }
        assert!((1..=147).all(|a| h100.attribute(a).is_some()));
        assert!([0, -1, 148, i32::MAX].iter().all(|a| h100.attribute(*a).is_none()));
        assert!(h100.name().contains("not a GPU"));
    }
}
