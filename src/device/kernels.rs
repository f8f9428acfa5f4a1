//! The kernels that were compiled into this program.

/// A kernel file as PTX, which the driver compiles for the GPU at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Stem of its file: `sgd`, `conv3d_sm90`.
    pub name: &'static str,
    /// What its PTX is for: `compute_80` runs on every GPU since Ampere, `compute_90a` on Hopper alone.
    pub arch: &'static str,
    /// The text.
    pub ptx: &'static str,
}

impl Kernel {
    /// The oldest CUDA version that runs its PTX. PTX 9.0 came with CUDA 13.0 and the two count in step since 12.0
    /// (PTX 8.0); PTX ISA, "Release Notes".
    pub fn cuda(&self) -> Option<(i32, i32)> {
        let version = self.ptx.lines().find_map(|line| line.trim().strip_prefix(".version "))?;
        let (major, minor) = version.trim().split_once('.')?;
        Some((major.parse::<i32>().ok()? + 4, minor.parse().ok()?))
    }

    /// Its entries, each with the bytes of its one parameter, a struct by value.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        self.ptx.split(".entry ").skip(1).filter_map(|rest| {
            let (name, rest) = rest.split_once('(')?;
            let (params, _) = rest.split_once(')')?;
            let (_, size) = params.split_once('[')?;
            let (size, _) = size.split_once(']')?;
            Some((name.trim(), size.parse().ok()?))
        })
    }
}

/// Sorted by name; empty if there was no nvcc at build time.
static KERNELS: &[Kernel] = include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// All kernels built in, sorted by name; empty if there was no nvcc at build time.
pub fn kernels() -> &'static [Kernel] {
    KERNELS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_ptx_for_its_architecture_with_an_entry_of_its_name() {
        for kernel in kernels() {
            let target = kernel.arch.replace("compute", ".target sm");
            assert!(kernel.ptx.lines().any(|line| line.trim() == target), "{}: no {target}", kernel.name);
            let entry = format!(".entry {}", kernel.name.trim_end_matches("_sm90"));
            assert!(kernel.ptx.contains(&entry), "{}: no {entry}", kernel.name);
        }
        assert!(kernels().is_sorted_by_key(|k| k.name));
    }

    /// A build that had nvcc has every kernel; HDC_REQUIRE_KERNELS (set in CI) makes a build without it fail.
    #[test]
    fn all_of_the_kernels_are_there_or_none() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        let sources = std::fs::read_dir(folder).unwrap().flatten();
        let count = sources.filter(|e| e.path().extension().is_some_and(|e| e == "cu")).count();
        assert!(count > 0);
        if kernels().is_empty() {
            assert!(
                std::env::var_os("HDC_REQUIRE_KERNELS").is_none(),
                "no kernels built in: run tools/setup"
            );
            println!("skipped: no nvcc at build time");
        } else {
            assert_eq!(kernels().len(), count);
        }
    }
}
