//! Declarations of variables and their initialisers (PTX ISA, sections 5.1 "State spaces", 5.2 "Types" and
//! 5.4 "Variables").

use super::ParseError;
use super::ast::{Initial, Space, Type, Variable};
use super::constant::Constant;
use super::cursor::Cursor;
use super::lexer::Token;

/// How many extents an array may have; nested initialisers recurse as deep.
const MAX_EXTENTS: usize = 16;

/// What a declaration says before its first name.
pub(super) struct Element {
    /// Type of a scalar.
    pub(super) ty: Type,
    /// `.v2`, `.v4`: the number of scalars in a vector; 1 without.
    pub(super) lanes: u32,
    /// Alignment in bytes, as declared or natural.
    align: u32,
}

/// The state space that a directive names.
pub(super) fn space(directive: &str) -> Option<Space> {
    Some(match directive {
        ".global" => Space::Global,
        ".const" => Space::Const,
        ".shared" => Space::Shared,
        ".local" => Space::Local,
        ".param" => Space::Param,
        _ => return None,
    })
}

/// The type that a directive names.
fn fundamental(directive: &str) -> Option<Type> {
    let (kind, bits) = match directive {
        ".pred" => ('p', 1),
        ".b8" => ('b', 8),
        ".b16" => ('b', 16),
        ".b32" | ".f16x2" => ('b', 32),
        ".b64" => ('b', 64),
        ".b128" => ('b', 128),
        ".u8" => ('u', 8),
        ".u16" => ('u', 16),
        ".u32" => ('u', 32),
        ".u64" => ('u', 64),
        ".s8" => ('s', 8),
        ".s16" => ('s', 16),
        ".s32" => ('s', 32),
        ".s64" => ('s', 64),
        ".f16" => ('f', 16),
        ".f32" => ('f', 32),
        ".f64" => ('f', 64),
        _ => return None,
    };
    Some(Type { kind, bits })
}

impl Cursor<'_> {
    /// `.align n`, `.v2` or `.v4`, and the type, which ends it.
    pub(super) fn element(&mut self) -> Result<Element, ParseError> {
        let align = self.align()?;
        let lanes = if self.accept_directive(".v2")? {
            2
        } else if self.accept_directive(".v4")? {
            4
        } else {
            1
        };
        let Token::Directive(name) = self.token else { return Err(self.unexpected("a type")) };
        let Some(ty) = fundamental(name) else { return Err(self.unexpected("a type")) };
        self.advance()?;
        let natural = u32::from(ty.bits).div_ceil(8) * lanes;
        Ok(Element { ty, lanes, align: align.unwrap_or(natural) })
    }

    /// Like [`Self::element`], of a variable in memory.
    pub(super) fn memory_element(&mut self) -> Result<Element, ParseError> {
        let line = self.line();
        let element = self.element()?;
        if element.ty.kind == 'p' {
            return Err(Self::error(line, "a predicate lives in a register, not in memory".into()));
        }
        Ok(element)
    }

    /// `.align n`, if it stands here.
    pub(super) fn align(&mut self) -> Result<Option<u32>, ParseError> {
        if !self.accept_directive(".align")? {
            return Ok(None);
        }
        let line = self.line();
        let align = self.small("an alignment")?;
        if align.is_power_of_two() {
            Ok(Some(align))
        } else {
            Err(Self::error(line, format!("alignment {align} is not a power of two")))
        }
    }

    /// The declarations up to `;`, after the directive of the state space.
    pub(super) fn variables(
        &mut self,
        space: Space,
        external: bool,
        mut declare: impl FnMut(Variable),
    ) -> Result<(), ParseError> {
        self.attribute()?;
        let element = self.memory_element()?;
        loop {
            let (mut variable, extents) = self.declarator(space, &element)?;
            variable.external = external;
            if self.accept('=')? {
                self.initialiser(&mut variable, &extents)?;
            }
            if variable.count.is_none() && !external {
                let message = format!("`{}` needs an extent, an initialiser or `.extern`", variable.name);
                return Err(Self::error(variable.line, message));
            }
            declare(variable);
            if !self.accept(',')? {
                break;
            }
        }
        self.expect(';')
    }

    /// `.attribute(.managed)`, if it stands here: dropped, for the host sees all memory of this device.
    fn attribute(&mut self) -> Result<(), ParseError> {
        if self.accept_directive(".attribute")? {
            self.expect('(')?;
            self.expect_directive(".managed")?;
            self.expect(')')?;
        }
        Ok(())
    }

    /// A name with its extents; also returns the extents, the vector's length as the last one. `None` is `[]`
    /// or `[0]`, which only the first may be.
    pub(super) fn declarator(
        &mut self,
        space: Space,
        element: &Element,
    ) -> Result<(Variable, Vec<Option<u64>>), ParseError> {
        let line = self.line();
        // The parameters of a `.callprototype` are all named `_`.
        let nameless = space == Space::Param && self.accept_word("_")?;
        let name = if nameless { "_" } else { self.name("a name")? }.to_string();
        let mut extents = Vec::new();
        while self.accept('[')? {
            if extents.len() == MAX_EXTENTS {
                return Err(self.refuse(&format!("`{name}` has more than {MAX_EXTENTS} extents")));
            }
            let open = self.token == Token::Symbol(']');
            let extent = if open { 0 } else { self.unsigned("an extent")? };
            match extent {
                0 if extents.is_empty() => extents.push(None),
                0 => return Err(self.refuse(&format!("only the first extent of `{name}` can be left out"))),
                _ => extents.push(Some(extent)),
            }
            self.expect(']')?;
        }
        if element.lanes > 1 {
            extents.push(Some(element.lanes.into()));
        }
        let count = extents
            .iter()
            .copied()
            .try_fold(1, |product: u64, extent| product.checked_mul(extent.unwrap_or(1)));
        let bytes = count.and_then(|n| n.checked_mul(u64::from(element.ty.bits).div_ceil(8)));
        let Some(count) = count.filter(|_| bytes.is_some_and(|n| i64::try_from(n).is_ok())) else {
            return Err(Self::error(line, format!("`{name}` is larger than the address space")));
        };
        let count = if extents.first() == Some(&None) { None } else { Some(count) };
        let (ty, align) = (element.ty, element.align);
        let variable = Variable { space, name, ty, align, count, external: false, values: Vec::new(), line };
        Ok((variable, extents))
    }

    /// An initialiser, after its `=`: a scalar, or as many levels of braces as there are extents.
    fn initialiser(&mut self, variable: &mut Variable, extents: &[Option<u64>]) -> Result<(), ParseError> {
        let rows = self.braces(variable, extents, 0)?;
        if variable.count.is_none() {
            let row = extents.iter().flatten().product::<u64>();
            variable.count = Some(rows.saturating_mul(row));
        }
        Ok(())
    }

    /// The part of an initialiser whose first element is number `at`. Its first extent is outermost; without
    /// extents it is a scalar. Returns how many parts it lists. It recurses once per extent, at most
    /// [`MAX_EXTENTS`] times.
    fn braces(
        &mut self,
        variable: &mut Variable,
        extents: &[Option<u64>],
        at: u64,
    ) -> Result<u64, ParseError> {
        let Some((&extent, inner)) = extents.split_first() else {
            self.pad(variable, at)?;
            variable.values.push(self.initial(variable.ty)?);
            return Ok(1);
        };
        let stride = inner.iter().flatten().product::<u64>();
        self.expect('{')?;
        let mut parts = 0;
        while parts == 0 || self.accept(',')? {
            if extent.is_some_and(|extent| parts >= extent) {
                return Err(
                    self.refuse(&format!("too many elements in the initialiser of `{}`", variable.name))
                );
            }
            self.braces(variable, inner, at.saturating_add(stride.saturating_mul(parts)))?;
            parts += 1;
        }
        self.expect('}')?;
        Ok(parts)
    }

    /// Adds the zeros that the initialiser left out before element `at`.
    fn pad(&mut self, variable: &mut Variable, at: u64) -> Result<(), ParseError> {
        let missing = at.saturating_sub(variable.values.len() as u64);
        let Some(left) = self.padding.checked_sub(missing) else {
            return Err(
                self.refuse(&format!("the initialiser of `{}` leaves out too many elements", variable.name))
            );
        };
        self.padding = left;
        variable.values.extend((0..missing).map(|_| Initial::Bits(0)));
        Ok(())
    }

    /// An element of an initialiser.
    fn initial(&mut self, ty: Type) -> Result<Initial, ParseError> {
        let line = self.line();
        match self.token {
            Token::Word(name) => {
                let generic = name == "generic";
                let symbol = if generic {
                    self.advance()?;
                    self.expect('(')?;
                    let symbol = self.name("a variable")?;
                    self.expect(')')?;
                    symbol
                } else {
                    self.name("a variable")?
                };
                let offset = self.offset()?.unwrap_or(0);
                if !matches!(ty, Type { kind: 'b' | 'u' | 's', bits: 32 | 64 }) {
                    return Err(Self::error(
                        line,
                        format!(
                            "the address of `{symbol}` in an element that is no integer of 32 or 64 bits"
                        ),
                    ));
                }
                Ok(Initial::Address { symbol: symbol.into(), offset, generic })
            }
            _ => {
                let constant = self.constant()?;
                if self.token == Token::Symbol('(') {
                    return Err(Self::error(
                        line,
                        "the mask operator, as in `0xFF(x)`, is not supported".into(),
                    ));
                }
                bits(constant, ty)
                    .ok_or_else(|| Self::error(line, "the initial value's type is not the element's".into()))
            }
        }
    }
}

/// A constant as an element of a type: an integer in an integer, a floating-point constant in a `.f32` or `.f64`.
fn bits(constant: Constant, ty: Type) -> Option<Initial> {
    Some(Initial::Bits(match (constant, ty.kind, ty.bits) {
        (Constant::Integer(value), 'b' | 'u' | 's', _) => value.cast_unsigned(),
        (Constant::Single(bits), 'f', 32) => bits.into(),
        (Constant::Single(bits), 'f', 64) => f64::from(f32::from_bits(bits)).to_bits(),
        (Constant::Double(bits), 'f', 32) => (f64::from_bits(bits) as f32).to_bits().into(),
        (Constant::Double(bits), 'f', 64) => bits,
        _ => return None,
    }))
}
