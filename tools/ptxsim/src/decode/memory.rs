//! Loads, stores, atomics and addresses.

use crate::lanes::alu::Operands;
use crate::lanes::registers::Reg;
use crate::parse::ast::Operand;

use super::arithmetic::width;
use super::instruction::{Parts, window_bits};
use super::{DecodeError, Decoder};
use crate::program::Code;
use crate::program::form::{Access, Atomic, Order, Scalar, Update, Window};

impl Decoder<'_> {
    pub(super) fn memory(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        match parts.base() {
            "ld" | "ldu" => self.access(parts, true),
            "st" => self.access(parts, false),
            "atom" | "red" => self.atomic(parts),
            "cvta" => self.cvta(parts),
            "isspacep" => self.isspacep(parts),
            "createpolicy" => {
                // A hint for the L2 cache: any value does.
                parts.take_rest();
                let operands = parts.operands();
                let Some(first) = operands.first() else {
                    return self.error("createpolicy needs a register");
                };
                let zero = self.constant(0, true);
                let d = self.destination_of(first, 64)?;
                self.step("mov.b64", d, &[zero])
            }
            "mapa" => {
                // A cluster is one block, so its own shared memory is the only one.
                parts.take_one(&["shared::cluster"]);
                let Some(bits) = parts.take_next().and_then(width) else {
                    return self.error(format!("unknown instruction {}", parts.name()));
                };
                let operands = self.count(parts, 3..=3)?;
                let a = self.value(&operands[1], bits)?;
                let d = self.destination_of(&operands[0], bits)?;
                self.step(if bits == 64 { "mov.b64" } else { "mov.b32" }, d, &[a])
            }
            _ => {
                // prefetch, discard, applypriority: hints without effect on values.
                parts.take_rest();
                self.emit(Code::Nothing, Operands::default());
                Ok(())
            }
        }
    }

    /// The state space named by a modifier; generic without one.
    pub(super) fn window(&self, parts: &mut Parts) -> Window {
        let names = [
            ("global", Window::Global),
            ("const", Window::Global),
            ("shared::cta", Window::Shared),
            ("shared::cluster", Window::Shared),
            ("shared", Window::Shared),
            ("local", Window::Local),
            ("param::entry", Window::Param),
            ("param::func", Window::Param),
            ("param", Window::Param),
        ];
        names.iter().find(|(name, _)| parts.take(name)).map_or(Window::Generic, |(_, window)| *window)
    }

    /// Ordering, with scope; hints for caches are dropped.
    fn order(&self, parts: &mut Parts, default: Order) -> Order {
        let order = match parts.take_one(&["weak", "relaxed", "volatile", "acquire", "release", "acq_rel"]) {
            Some("weak") => Order::Weak,
            Some("acquire") => Order::Acquire,
            Some("release") => Order::Release,
            Some("acq_rel") => Order::AcquireRelease,
            Some(_) => Order::Relaxed,
            None => default,
        };
        parts.take_one(&["cta", "cluster", "gpu", "sys"]);
        parts.take_one(&["mmio"]);
        order
    }

    /// Hints for caches, which change no value.
    fn drop_hints(&self, parts: &mut Parts) -> bool {
        const HINTS: [&str; 22] = [
            "nc",
            "ca",
            "cg",
            "cs",
            "lu",
            "cv",
            "wb",
            "wt",
            "unified",
            "L1::evict_normal",
            "L1::evict_unchanged",
            "L1::evict_first",
            "L1::evict_last",
            "L1::no_allocate",
            "L2::evict_normal",
            "L2::evict_first",
            "L2::evict_last",
            "L2::64B",
            "L2::128B",
            "L2::256B",
            "L1::evict_priority",
            "L2::evict_priority",
        ];
        while parts.take_one(&HINTS).is_some() {}
        parts.take("L2::cache_hint")
    }

    fn access(&mut self, parts: &mut Parts, load: bool) -> Result<(), DecodeError> {
        let order = self.order(parts, Order::Weak);
        if !load && parts.take("const") {
            return self.error(format!("{}: constants cannot be written", parts.name()));
        }
        let mut window = self.window(parts);
        let policy = self.drop_hints(parts);
        let vector = match parts.take_one(&["v2", "v4", "v8"]) {
            Some("v2") => 2,
            Some("v4") => 4,
            Some(_) => 8,
            None => 1,
        };
        let ty = parts.take_next().unwrap_or("");
        let Some(bits) = width(ty) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let operands = self.count(parts, 2..=2 + usize::from(policy))?;
        let (value, at) = if load { (&operands[0], &operands[1]) } else { (&operands[1], &operands[0]) };
        let (address, named) = self.address(at)?;
        match (window, named) {
            // Parameters of functions are the caller's local variables.
            (Window::Param, Some(Window::Local)) => window = Window::Local,
            (Window::Param, _) if !load => window = Window::Local,
            (Window::Generic, Some(named)) if named != Window::Global => window = named,
            _ => {}
        }
        let elements = self.elements(value);
        if elements.len() != vector || bits * vector as u32 > 256 {
            return self.error(format!("{}: {} elements", parts.name(), elements.len()));
        }
        let mut registers = Vec::with_capacity(vector);
        for element in elements {
            registers.push(match element {
                Operand::Sink if load => None,
                element if load => {
                    let (reg, have) = self.destination(element)?;
                    if have < bits {
                        return self.error(format!("{}: a register of {have} bits", parts.name()));
                    }
                    Some((reg, have))
                }
                element => Some(self.stored(element, bits)?),
            });
        }
        let bytes = bits / 8;
        self.granule(window, bytes);
        let access = Access { window, address, bytes, signed: ty.starts_with('s'), registers, order };
        let code = if load { Code::Load(Box::new(access)) } else { Code::Store(Box::new(access)) };
        self.emit(code, Operands::default());
        Ok(())
    }

    /// A stored value: its register may be wider than what is stored.
    fn stored(&mut self, element: &Operand, bits: u32) -> Result<(Reg, u32), DecodeError> {
        if let Operand::Name(name) = element
            && let Some((reg, have)) = self.register_of(name)
        {
            if have < bits {
                return self.error(format!("{name} has {have} bits where {bits} are stored"));
            }
            return Ok((reg, have));
        }
        let reg = self.value(element, bits.max(16))?;
        Ok((reg, if bits > 32 { 64 } else { 32 }))
    }

    /// Remembers the narrowest access, so that shadow cells are as fine as needed.
    pub(super) fn granule(&mut self, window: Window, bytes: u32) {
        if matches!(window, Window::Shared | Window::Generic) {
            self.program.shared_granule = self.program.shared_granule.min(bytes);
        }
        if matches!(window, Window::Global | Window::Generic) {
            self.program.global_granule = self.program.global_granule.min(bytes);
        }
    }

    fn atomic(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let red = parts.base() == "red";
        parts.take("async");
        let order = self.order(parts, Order::Relaxed);
        let window = self.window(parts);
        let policy = self.drop_hints(parts);
        parts.take("noftz");
        let update =
            match parts.take_one(&["add", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas"]) {
                Some("add") => Update::Add,
                Some("min") => Update::Min,
                Some("max") => Update::Max,
                Some("inc") => Update::Inc,
                Some("dec") => Update::Dec,
                Some("and") => Update::And,
                Some("or") => Update::Or,
                Some("xor") => Update::Xor,
                Some("exch") => Update::Exchange,
                Some(_) => Update::CompareSwap,
                None => return self.error(format!("unknown instruction {}", parts.name())),
            };
        parts.take("noftz");
        let vector = match parts.take_one(&["v2", "v4", "v8"]) {
            Some("v2") => 2,
            Some("v4") => 4,
            Some(_) => 8,
            None => 1,
        };
        let Some(scalar) = parts.take_next().and_then(scalar).filter(|&s| allowed(update, s)) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let bits = scalar.bytes() * 8;
        let least = 3 - usize::from(red) + usize::from(update == Update::CompareSwap);
        let operands = self.count(parts, least..=least + usize::from(policy))?;
        let (old, rest) = if red { (None, operands) } else { (Some(&operands[0]), &operands[1..]) };
        let (address, named) = self.address(&rest[0])?;
        let window = if window == Window::Generic { named.unwrap_or(window) } else { window };
        let b = self
            .elements(&rest[1])
            .iter()
            .map(|element| self.value(element, bits))
            .collect::<Result<Vec<_>, _>>()?;
        if b.len() != vector {
            return self.error(format!("{}: {} elements", parts.name(), b.len()));
        }
        let c = match update {
            Update::CompareSwap => Some(self.value(&rest[2], bits)?),
            _ => None,
        };
        let old = match old {
            Some(Operand::Sink) | None => Vec::new(),
            Some(operand) => self
                .elements(operand)
                .iter()
                .map(|element| self.destination_of(element, bits))
                .collect::<Result<Vec<_>, _>>()?,
        };
        self.granule(window, scalar.bytes());
        let atomic = Atomic { window, address, update, scalar, old, b, c, order };
        self.emit(Code::Atomic(Box::new(atomic)), Operands::default());
        Ok(())
    }

    /// `cvta`: adds or removes the bits that mark a window in generic addresses.
    fn cvta(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let to = parts.take("to");
        let window = self.window(parts);
        let Some(bits @ (32 | 64)) = parts.take_next().and_then(width) else {
            return self.error(format!("unknown instruction {}", parts.name()));
        };
        let operands = self.count(parts, 2..=2)?;
        // A variable's name may stand where its address is meant.
        let a = self.value(&operands[1], bits)?;
        let d = self.destination_of(&operands[0], bits)?;
        let window = window_bits(window);
        if bits == 32 || window == 0 {
            return self.step(if bits == 64 { "mov.b64" } else { "mov.b32" }, d, &[a]);
        }
        let mask = self.constant(if to { !window } else { window }, true);
        self.step(if to { "and.b64" } else { "or.b64" }, d, &[a, mask])
    }

    fn isspacep(&mut self, parts: &mut Parts) -> Result<(), DecodeError> {
        let window = self.window(parts);
        let operands = self.count(parts, 2..=2)?;
        let a = self.value(&operands[1], 64)?;
        if let Some(d) = self.predicate(&operands[0])? {
            self.emit(Code::IsSpace(window), Operands { d: Reg(d), s: [a, Reg(0), Reg(0), Reg(0)] });
        }
        Ok(())
    }
}

/// A type of an atomic operation.
pub(super) fn scalar(name: &str) -> Option<Scalar> {
    Some(match name {
        "b16" => Scalar::B16,
        "b32" | "u32" => Scalar::U32,
        "s32" => Scalar::S32,
        "b64" | "u64" => Scalar::U64,
        "s64" => Scalar::S64,
        "f16" => Scalar::F16,
        "bf16" => Scalar::Bf16,
        "f16x2" => Scalar::F16x2,
        "bf16x2" => Scalar::Bf16x2,
        "f32" => Scalar::F32,
        "f64" => Scalar::F64,
        _ => return None,
    })
}

/// PTX defines the operation on the type.
pub(super) fn allowed(update: Update, scalar: Scalar) -> bool {
    let float = !matches!(scalar, Scalar::B16 | Scalar::U32 | Scalar::S32 | Scalar::U64 | Scalar::S64);
    let half = matches!(scalar, Scalar::F16 | Scalar::Bf16 | Scalar::F16x2 | Scalar::Bf16x2);
    match update {
        Update::Add => scalar != Scalar::B16,
        Update::Min | Update::Max => (!float || half) && scalar != Scalar::B16,
        Update::Inc | Update::Dec => scalar == Scalar::U32,
        Update::And | Update::Or | Update::Xor => !float && scalar != Scalar::B16,
        Update::Exchange => !float && scalar != Scalar::B16,
        Update::CompareSwap => !float,
    }
}
