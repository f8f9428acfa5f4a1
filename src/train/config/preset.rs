//! Named starting points of a configuration.

/// A named set of settings, overlaid on the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// The paper's settings with C3D
    PaperC3d,
    /// The paper's settings with 3D-ResNet18
    PaperR3d18,
    /// The paper's settings with R(2+1)D-10
    PaperR21d10,
    /// C3D at 1/8 width, 8 frames, 48-pixel crops: minutes on a laptop
    Small,
    /// For the synthetic set, smaller still
    Demo,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::PaperC3d, Self::PaperR3d18, Self::PaperR21d10, Self::Small, Self::Demo];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaperC3d => "paper-c3d",
            Self::PaperR3d18 => "paper-r3d18",
            Self::PaperR21d10 => "paper-r21d10",
            Self::Small => "small",
            Self::Demo => "demo",
        }
    }

    /// Its settings, as TOML.
    pub fn text(self) -> &'static str {
        match self {
            Self::PaperC3d => include_str!("presets/paper-c3d.toml"),
            Self::PaperR3d18 => include_str!("presets/paper-r3d18.toml"),
            Self::PaperR21d10 => include_str!("presets/paper-r21d10.toml"),
            Self::Small => include_str!("presets/small.toml"),
            Self::Demo => include_str!("presets/demo.toml"),
        }
    }
}
