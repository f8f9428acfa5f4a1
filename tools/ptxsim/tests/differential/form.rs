//! What the random programs are made of: an instruction in PTX, and what it computes.

/// Classes of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Predicate.
    P,
    /// 16 bits.
    H,
    /// 32 bits.
    R,
    /// 64 bits.
    D,
}

impl Kind {
    pub fn of(bits: u32) -> Kind {
        match bits {
            8 | 16 => Kind::H,
            32 => Kind::R,
            _ => Kind::D,
        }
    }
    pub fn bits(self) -> u32 {
        match self {
            Kind::P => 1,
            Kind::H => 16,
            Kind::R => 32,
            Kind::D => 64,
        }
    }
}

pub fn mask(bits: u32) -> u64 {
    if bits == 64 { !0 } else { (1 << bits) - 1 }
}

/// What may stand for a source besides a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Also {
    Nothing,
    Integer,
    /// Always a constant, below this bound.
    Constant(u32),
    /// Mostly small numbers, for shifts and positions.
    Small,
    Single,
    Double,
    /// `!p`
    Negated,
}

#[derive(Clone, Copy, Debug)]
pub struct Source(pub Kind, pub Also);

pub type Function = Box<dyn Fn(&[u64]) -> [u64; 4] + Send + Sync>;

pub struct Form {
    /// PTX, with `$0` for destinations and `&0` for sources.
    pub text: String,
    pub destinations: Vec<Kind>,
    pub sources: Vec<Source>,
    /// From the sources (and the carry, 0 or 1, if it is read) to the destinations (and the carry, if it is written).
    pub function: Function,
    pub reads_carry: bool,
    pub writes_carry: bool,
    /// A NaN of this type may have any bits: the program makes it canonical.
    pub any_nan: Option<&'static str>,
}

/// The forms, as they are collected.
#[derive(Default)]
pub struct Forms(pub Vec<Form>);

impl Forms {
    /// `op d, a, b, …` with one result.
    pub fn one(
        &mut self,
        op: &str,
        destination: Kind,
        sources: &[Source],
        function: impl Fn(&[u64]) -> u64 + Send + Sync + 'static,
    ) -> &mut Form {
        let operands: Vec<_> = (0..sources.len()).map(|i| format!("&{i}")).collect();
        let text = format!("{op} $0, {};", operands.join(", "));
        self.text(text, &[destination], sources, move |s| [function(s), 0, 0, 0])
    }

    /// Any text, with up to four results.
    pub fn text(
        &mut self,
        text: String,
        destinations: &[Kind],
        sources: &[Source],
        function: impl Fn(&[u64]) -> [u64; 4] + Send + Sync + 'static,
    ) -> &mut Form {
        self.0.push(Form {
            text,
            destinations: destinations.to_vec(),
            sources: sources.to_vec(),
            function: Box::new(function),
            reads_carry: false,
            writes_carry: false,
            any_nan: None,
        });
        self.0.last_mut().expect("just pushed")
    }
}
