//! What the parser says of PTX that it does not take, and its bounds on nesting and time.

use std::time::{Duration, Instant};

use ptxsim::parse::ast::Module;
use ptxsim::parse::{ParseError, parse};

const HEADER: &str = ".version 8.4\n.target sm_90a, debug\n.address_size 64\n";

/// The module of `text` after a header of three lines.
fn module(text: &str) -> Result<Module, ParseError> {
    parse(&format!("{HEADER}{text}"))
}

/// Each text, the line after the header's three, and the message.
#[test]
fn mistakes_are_named_with_their_line() {
    for (text, line, message) in [
        ("foo", 1, "expected a directive, found `foo`"),
        (".bar x;", 1, "directive `.bar` is not supported at module scope"),
        (".visible\n.local .b32 x;", 2, "directive `.local` is not supported at module scope"),
        (".visible x", 1, "expected a function or a variable, found `x`"),
        (".section .text { }", 1, "expected a debug section, found `.text`"),
        (".section .debug_str {", 1, "expected `}`, found the end of the text"),
        (".file 1 x", 1, "expected a path, found `x`"),
        (".global .tex x;", 1, "expected a type, found `.tex`"),
        (".global .attribute(.unified(1, 2)) .b8 x;", 1, "expected `.managed`, found `.unified`"),
        (".global .pred x;", 1, "a predicate lives in a register, not in memory"),
        (".global .align 3 .b8 x;", 1, "alignment 3 is not a power of two"),
        (".global .align 0 .b8 x;", 1, "alignment 0 is not a power of two"),
        (".global .b8 x[];", 1, "`x` needs an extent, an initialiser or `.extern`"),
        (".global .b8 x[2][];", 1, "only the first extent of `x` can be left out"),
        (".global .b8 x[-2];", 1, "expected an extent, found `-`"),
        (".global .b64 x[4294967296][4294967296];", 1, "`x` is larger than the address space"),
        (".global .b64 x[0x1000000000000000];", 1, "`x` is larger than the address space"),
        (".global .b8 x[2] = {1, 2, 3};", 1, "too many elements in the initialiser of `x`"),
        (".global .b8 x[2] = 1;", 1, "expected `{`, found `1`"),
        (".global .b8 x[2][2] = {1};", 1, "expected `{`, found `1`"),
        (".global .b8 x[2] = {};", 1, "expected a number, found `}`"),
        (".global .b8 x = \"a\";", 1, "expected a number, found a string"),
        (
            ".global .b8 x[9][999999999] = {{1}, {1}};",
            1,
            "the initialiser of `x` leaves out too many elements",
        ),
        (".global .f32 x = 1;", 1, "the initial value's type is not the element's"),
        (".global .u32 x = 1.0;", 1, "the initial value's type is not the element's"),
        (".global .f16 x = 1.0;", 1, "the initial value's type is not the element's"),
        (".global .u8 x = y;", 1, "the address of `y` in an element that is no integer of 32 or 64 bits"),
        (".global .b8 x = 0xFF(y);", 1, "the mask operator, as in `0xFF(x)`, is not supported"),
        (".global .u64 x = y+1.0;", 1, "a floating-point constant as an offset"),
        (".alias a, b;", 1, "`.alias` of `b`, which is no device function defined above"),
        (".func b {}\n.alias a, b;", 2, "`.alias` for `a`, which no `.func` above declares only"),
        (".entry k() .foo { }", 1, "directive `.foo` of a function is not supported"),
        (".entry k() .maxnreg x", 1, "expected a number, found `x`"),
        (".entry k() .maxnreg 4294967296", 1, "4294967296 is too large for a number"),
        (".entry k() ret;", 1, "expected `{`, `;` or a performance directive, found `ret`"),
        (".entry k(.b32 x)", 1, "expected `.param` or `.reg`, found `.b32`"),
        (".entry k(.param .b32 x .param)", 1, "expected `,` or `)`, found `.param`"),
        (".entry a.b", 1, "expected a function's name, found `a.b`"),
        (".entry _", 1, "expected a function's name, found `_`"),
        ("# 1", 1, "unexpected character '#'"),
    ] {
        let want = ParseError { line: line + 3, message: message.into() };
        assert_eq!(module(text), Err(want), "{text}");
    }
}

/// Each body, the line in it, and the message.
#[test]
fn mistakes_in_a_body_are_named_with_their_line() {
    for (text, line, message) in [
        ("ret", 2, "expected an operand, found `}`"),
        ("ret;;", 1, "expected a statement or `}`, found `;`"),
        ("add.u32 a b;", 1, "expected `,` or `;`, found `b`"),
        ("add.u32 a,;", 1, "expected an operand, found `;`"),
        ("%r1 a;", 1, "expected an instruction, found `%r1`"),
        ("@p { ret; }", 1, "expected an instruction, found `{`"),
        ("@1 ret;", 1, "expected a register, found `1`"),
        ("mov a, 08;", 1, "the number `08` is malformed or out of range"),
        ("mov a, 18446744073709551616;", 1, "the number `18446744073709551616` is malformed or out of range"),
        ("mov a, ~1.0;", 1, "`~` before a floating-point constant"),
        ("mov a, 1-2;", 1, "expected `,` or `;`, found `-`"),
        ("mov a, {{b}};", 1, "expected an operand, found `{`"),
        ("mov a, {};", 1, "expected an operand, found `}`"),
        ("mov a, {b c};", 1, "expected `,` or `}`, found `c`"),
        ("mov a, !_;", 1, "expected a register, found `_`"),
        ("ld a, [1.0];", 1, "an address begins with a register, a variable or an integer"),
        ("ld a, [_];", 1, "an address begins with a register, a variable or an integer"),
        ("ld a, [b c];", 1, "expected `]`, or `,` and coordinates, found `c`"),
        ("tex a, [t, s, {x}];", 1, "expected `{`, found `s`"),
        (".foo x;", 1, "directive `.foo` is not supported in a function"),
        (".global .b32 x;", 1, "directive `.global` is not supported in a function"),
        (".branchtargets a;", 1, "`.branchtargets` needs a label"),
        ("a: .branchtargets ;", 1, "expected a label, found `;`"),
        ("a: .callprototype (.param .b32 x) f;", 1, "expected `_`, found `f`"),
        (".reg .b32 %r<-1>;", 1, "expected a number of registers, found `-`"),
        (".reg .v2 .b32 v<3>;", 1, "`v<n>` of vector registers is not supported"),
        (".reg .bf16 x;", 1, "expected a type, found `.bf16`"),
        (".reg .b32 _;", 1, "expected a register's name, found `_`"),
        ("\n.loc 1 2", 3, "expected a column, found `}`"),
        (".loc 1 2 3, foo", 1, "expected `function_name` or `inlined_at`, found `foo`"),
        ("/* ", 1, "the comment that begins here does not end"),
    ] {
        let want = ParseError { line: line + 4, message: message.into() };
        assert_eq!(module(&format!(".entry k() {{\n{text}\n}}")), Err(want), "{text}");
    }
}

#[test]
fn a_header_is_required() {
    for (text, message) in [
        ("", "line 1: expected `.version`, found the end of the text"),
        ("\n.version 8", "line 2: expected a version such as `8.4`, found `8`"),
        (".version 8.4", "line 1: expected `.target`, found the end of the text"),
        (".version 8.4 .target 90", "line 1: expected a target such as `sm_90a`, found `90`"),
        (
            ".version 8.4\n.target sm_90 .address_size 32",
            "line 2: addresses of 32 bits are not supported, only of 64",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn long_tokens_are_quoted_in_part() {
    let error = module(&"é".repeat(9)).unwrap_err();
    assert_eq!(error.message, "unexpected character 'é'");
    let error = module(&"a".repeat(1000)).unwrap_err();
    assert_eq!(error.message, format!("expected a directive, found `{}…`", "a".repeat(60)));
}

/// Deep nesting neither overflows the stack nor is refused where compilers need it.
#[test]
fn nesting_is_bounded() {
    let blocks = |depth: usize| module(&format!(".entry k() {}{}", "{".repeat(depth), "}".repeat(depth)));
    assert!(blocks(60).is_ok());
    assert_eq!(blocks(100_000).unwrap_err().message, "blocks nest more than 64 deep");
    let extents = format!(".global .b8 x{} = {}", "[1]".repeat(100_000), "{".repeat(100_000));
    assert_eq!(module(&extents).unwrap_err().message, "`x` has more than 16 extents");
    for opening in ["{", "(", "[", "!", "-", "@"] {
        assert!(module(&format!(".entry k() {{ mov a, {}", opening.repeat(100_000))).is_err());
    }
    assert!(module(&format!(".section .debug_x {}{}", "{".repeat(100_000), "}".repeat(100_000))).is_ok());
    let aliases = format!(".func a; .func b {{ }} {}", ".alias a, b; .func a;".repeat(65));
    assert_eq!(module(&aliases).unwrap_err().message, "more than 64 `.alias` directives");
}

/// A megabyte of one thing takes linear time.
#[test]
fn time_is_linear() {
    for unit in [
        "a", "a.", "/*", "//\n", "\n", "1", "0x", ".", ".a", "\"", "\"\" ", "a:", "a;", "a,", "::", "a a ",
        "{}", "%", "é",
    ] {
        let long = unit.repeat(1_000_000 / unit.len());
        for prefix in
            ["", ".entry k() { ", ".entry k() { mov a, ", ".global .b8 x[] = {", ".section .debug_x {"]
        {
            let started = Instant::now();
            let _ = module(&format!("{prefix}{long}"));
            let took = started.elapsed();
            assert!(took < Duration::from_secs(2), "{unit:?} after {prefix:?} took {took:?}");
        }
    }
}
