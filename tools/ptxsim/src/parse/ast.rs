//! The syntax tree of a PTX module. Names are kept as written; nothing is resolved here.

/// A PTX module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// `.version`: (8, 4) for `8.4`.
    pub version: (u16, u16),
    /// `.target`'s first name, such as `sm_90a`.
    pub target: String,
    /// `.file` directives: index and path.
    pub files: Vec<(u32, String)>,
    /// Variables at module scope, in order.
    pub variables: Vec<Variable>,
    /// Kernels and device functions, in order; those only declared too. A function that `.alias` defines has the
    /// parameters and body of the other one.
    pub functions: Vec<Function>,
}

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// `.global`
    Global,
    /// `.const`
    Const,
    /// `.shared`
    Shared,
    /// `.local`
    Local,
    /// `.param`
    Param,
}

/// A fundamental type of a declaration: its letter and width in bits. `.pred` is `('p', 1)`, `.b8` `('b', 8)`,
/// `.f32` `('f', 32)`, `.s64` `('s', 64)`, `.b128` `('b', 128)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// `p`, `b`, `u`, `s` or `f`.
    pub kind: char,
    /// Width in bits; 1 for a predicate.
    pub bits: u16,
}

/// A variable, or a formal parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Where it lives.
    pub space: Space,
    /// Name as written.
    pub name: String,
    /// Type of an element.
    pub ty: Type,
    /// Alignment in bytes: as declared, else that of an element (with `.v2`, `.v4`: of the vector).
    pub align: u32,
    /// Number of elements: the product of all extents, times the vector's length; 1 for a scalar. `None` for an
    /// array without extent (`.extern .shared .b8 smem[]`), unless an initialiser gives one.
    pub count: Option<u64>,
    /// `.extern`.
    pub external: bool,
    /// The initialiser's elements in memory order, if there is one; those left out at the end are zero.
    pub values: Vec<Initial>,
    /// Line in the PTX text, from 1.
    pub line: u32,
}

/// An element of an initialiser.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial {
    /// An integer as written, as two's complement of 64 bits, or the bits of a float of the element's width.
    Bits(u64),
    /// The address of a variable (or of a function), plus bytes; `generic(x)` if the flag is set.
    Address {
        /// Name.
        symbol: String,
        /// Bytes added.
        offset: i64,
        /// Wrapped in `generic()`.
        generic: bool,
    },
}

/// A kernel (`.entry`) or device function (`.func`).
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Name.
    pub name: String,
    /// `.entry`.
    pub entry: bool,
    /// Return parameters of a `.func`: `.param` variables or registers (space `Param` either way).
    pub returns: Vec<Variable>,
    /// Parameters in order.
    pub params: Vec<Variable>,
    /// `.maxntid`, `.reqntid`, `.minnctapersm`, `.maxnreg`, `.reqnctapercluster`, `.noreturn`, ... as written, with
    /// the dot, and their numbers.
    pub directives: Vec<(String, Vec<u32>)>,
    /// The body; `None` if only declared.
    pub body: Option<Vec<Statement>>,
    /// Line in the PTX text, from 1.
    pub line: u32,
}

/// A statement of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `{ ... }`: names declared in it, labels too, are its own.
    Block(Vec<Statement>),
    /// `.reg .b32 %r<5>, x;`: names, each with the count in `<>` if there is one; it is any number of 32 bits. A
    /// vector register `.v2 .b32 q` is its components, `q.x` and `q.y`.
    Registers(Type, Vec<(String, Option<u32>)>),
    /// A variable of the function: `.local`, `.shared`, `.param`.
    Variable(Variable),
    /// `name:`
    Label(String),
    /// `.loc file line column`: where the next instructions come from.
    Location {
        /// Index of a `.file`.
        file: u32,
        /// Line of it.
        line: u32,
        /// File and line of the call, if they are inlined.
        caller: Option<(u32, u32)>,
    },
    /// `name: .branchtargets a, b;`
    BranchTargets(String, Vec<String>),
    /// An instruction.
    Instruction(Instruction),
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// The guard `@p` or `@!p`: its register, and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// The opcode and its modifiers: `ld.global.v4.f32` is `["ld", "global", "v4", "f32"]`. `::` stays within a
    /// part: `shared::cta`.
    pub opcode: Vec<String>,
    /// Operands as written, from left to right.
    pub operands: Vec<Operand>,
    /// Line in the PTX text, from 1.
    pub line: u32,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, special register (`%tid.x`), variable, label or function. `x.y` of a vector register too.
    Name(String),
    /// A variable's name plus bytes, outside brackets: `smem+16`.
    NameOffset(String, i64),
    /// `!p`
    Not(String),
    /// `p|q`
    Pair(Box<Operand>, Box<Operand>),
    /// An integer constant, as two's complement; 32 for `WARP_SZ`.
    Integer(i64),
    /// `0f3F800000`: the bits of a single.
    Single(u32),
    /// `0d3FF0000000000000`, or a decimal such as `1.5`: the bits of a double.
    Double(u64),
    /// `{a, b}`
    Vector(Vec<Operand>),
    /// `[a]`, `[a+8]`, `[a+-8]`, `[16]`: a register, variable or integer, plus bytes.
    Address(Box<Operand>, i64),
    /// `[map, {c0, c1}]`, with im2col offsets `[map, {c0, c1, c2}, {o0}]` in some forms: the last element is then a
    /// [`Operand::Vector`], of the offsets.
    Tensor(Box<Operand>, Vec<Operand>),
    /// `(a, b)`: the arguments or results of a call.
    List(Vec<Operand>),
    /// `_`
    Sink,
}
