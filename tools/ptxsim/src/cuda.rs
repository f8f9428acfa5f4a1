//! Releases of CUDA, of which the simulated driver can be.

use std::fmt;

/// A release of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuda {
    name: &'static str,
    /// As `cuDriverGetVersion` tells it: 12080 for 12.8.
    pub version: i32,
    /// The newest PTX that its driver takes.
    pub ptx: (u16, u16),
}

const fn release(name: &'static str, version: i32, ptx: (u16, u16)) -> Cuda {
    Cuda { name, version, ptx }
}

/// The releases (PTX ISA, "Release Notes"), the newest last. 12.6 brought no new PTX; of 12.7 there are drivers alone.
const RELEASES: [Cuda; 20] = [
    release("11.0", 11_000, (7, 0)),
    release("11.1", 11_010, (7, 1)),
    release("11.2", 11_020, (7, 2)),
    release("11.3", 11_030, (7, 3)),
    release("11.4", 11_040, (7, 4)),
    release("11.5", 11_050, (7, 5)),
    release("11.6", 11_060, (7, 6)),
    release("11.7", 11_070, (7, 7)),
    release("11.8", 11_080, (7, 8)),
    release("12.0", 12_000, (8, 0)),
    release("12.1", 12_010, (8, 1)),
    release("12.2", 12_020, (8, 2)),
    release("12.3", 12_030, (8, 3)),
    release("12.4", 12_040, (8, 4)),
    release("12.5", 12_050, (8, 5)),
    release("12.6", 12_060, (8, 5)),
    release("12.7", 12_070, (8, 6)),
    release("12.8", 12_080, (8, 7)),
    release("12.9", 12_090, (8, 8)),
    release("13.0", 13_000, (9, 0)),
];

impl Default for Cuda {
    fn default() -> Cuda {
        RELEASES[RELEASES.len() - 1]
    }
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Cuda {
    /// The release that `PTXSIM_CUDA` names, 13.0 by default.
    ///
    /// # Errors
    /// The variable and its value, if there is no such release or it is newer.
    pub fn from_env() -> Result<Cuda, String> {
        Cuda::parse(std::env::var("PTXSIM_CUDA").ok().filter(|v| !v.is_empty()).as_deref())
    }

    fn parse(name: Option<&str>) -> Result<Cuda, String> {
        let Some(name) = name else { return Ok(Cuda::default()) };
        let found = RELEASES.into_iter().find(|r| r.name == name);
        found.ok_or_else(|| {
            format!(
                "PTXSIM_CUDA is {name}; it can be a CUDA release from 11.0 to 11.8, 12.0 to 12.9, or 13.0"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_by_name() {
        for (name, version, ptx) in [
            (None, 13_000, (9, 0)),
            (Some("11.8"), 11_080, (7, 8)),
            (Some("12.0"), 12_000, (8, 0)),
            (Some("12.6"), 12_060, (8, 5)),
            (Some("12.8"), 12_080, (8, 7)),
            (Some("12.9"), 12_090, (8, 8)),
            (Some("13.0"), 13_000, (9, 0)),
        ] {
            let found = Cuda::parse(name).unwrap();
            assert_eq!((found.version, found.ptx), (version, ptx), "{name:?}");
        }
        for bad in ["12", "12.10", "12.80", "10.2", "13.1", "12080", " 12.8", "é"] {
            let why = Cuda::parse(Some(bad)).unwrap_err();
            assert!(why.starts_with(&format!("PTXSIM_CUDA is {bad}; ")) && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn numbers_follow_from_names() {
        for release in RELEASES {
            let (major, minor) = release.name.split_once('.').unwrap();
            let number = |text: &str| text.parse::<i32>().unwrap();
            assert_eq!(release.version, number(major) * 1000 + number(minor) * 10);
        }
        assert!(RELEASES.is_sorted_by(|a, b| a.version < b.version && a.ptx <= b.ptx));
    }
}
