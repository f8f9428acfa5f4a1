//! Every form of PTX that the parser takes.

use ptxsim::parse::ast::{Function, Initial, Instruction, Module, Operand, Space, Statement, Type, Variable};
use ptxsim::parse::{ParseError, parse};

const HEADER: &str = ".version 8.4\n.target sm_90a, debug\n.address_size 64\n";

/// The module of `text` after a header of three lines.
fn module(text: &str) -> Result<Module, ParseError> {
    parse(&format!("{HEADER}{text}"))
}

fn variable(text: &str) -> Variable {
    let module = module(text).unwrap();
    assert_eq!(module.variables.len(), 1, "{text}");
    module.variables[0].clone()
}

fn function(text: &str) -> Function {
    module(text).unwrap().functions.remove(0)
}

/// The statements of a kernel whose body is `text`.
fn body(text: &str) -> Vec<Statement> {
    function(&format!(".entry k() {{\n{text}\n}}")).body.unwrap()
}

fn instruction(text: &str) -> Instruction {
    match body(text).remove(0) {
        Statement::Instruction(instruction) => instruction,
        other => panic!("{text}: {other:?}"),
    }
}

/// The operand of `mov x, text;` after `x`.
fn operand(text: &str) -> Operand {
    instruction(&format!("mov.b32 x, {text};")).operands.remove(1)
}

fn name(text: &str) -> Operand {
    Operand::Name(text.into())
}

fn bits(values: &[u64]) -> Vec<Initial> {
    values.iter().copied().map(Initial::Bits).collect()
}

fn ty(kind: char, bits: u16) -> Type {
    Type { kind, bits }
}

#[test]
fn header_files_and_sections() {
    let text = "// c\n.version 9.0 /* c */ .target sm_80 .address_size 64 .file 1 \"a b.cu\"\n.file 2 \"é.h\", 17, 4096\n\
        .section .debug_str { $L__info_string0: .b8 1,2 { .b32 .debug_abbrev } \"}\" }";
    let module = parse(text).unwrap();
    assert_eq!((module.version, module.target.as_str()), ((9, 0), "sm_80"));
    assert_eq!(module.files, [(1, "a b.cu".into()), (2, "é.h".into())]);
    assert!(parse(".version 8.4 .target sm_90a").is_ok(), "the address size may be left out");
}

#[test]
fn variables_at_module_scope() {
    let x = variable(".visible .global .align 16 .b8 x[3][4];");
    let want = Variable {
        space: Space::Global,
        name: "x".into(),
        ty: ty('b', 8),
        align: 16,
        count: Some(12),
        external: false,
        values: vec![],
        line: 4,
    };
    assert_eq!(x, want);
    let smem = variable("\n.extern .shared .align 1024 .b8 $s_1[];");
    assert_eq!((smem.space, smem.count, smem.external, smem.line), (Space::Shared, None, true, 5));
    let vector = variable(".weak .const .v4 .f32 v[2];");
    assert_eq!((vector.space, vector.align, vector.count), (Space::Const, 16, Some(8)));
    assert_eq!(variable(".common .global .s16 n;").align, 2);
    assert_eq!(variable(".global.b128 n;").ty, ty('b', 128));
    assert_eq!(variable(".global .attribute(.managed) .align 4 .b8 m[16];").count, Some(16));
    let names: Vec<_> = module(".global .u32 a, b[3];").unwrap().variables;
    assert_eq!(
        names.iter().map(|v| (v.name.as_str(), v.count)).collect::<Vec<_>>(),
        [("a", Some(1)), ("b", Some(3))]
    );
}

#[test]
fn initialisers() {
    assert_eq!(variable(".global .u32 x = 7;").values, bits(&[7]));
    let mixed = variable(".global .s64 x[8] = {1, -2, 0xFF, 017, 0b11U, ~0, +5};");
    assert_eq!(
        (mixed.count, mixed.values),
        (Some(8), bits(&[1, 2_u64.wrapping_neg(), 255, 15, 3, u64::MAX, 5]))
    );
    let rows = variable(".global .u8 x[3][3] = {{1}, {2, 3}, {4, 5}};");
    assert_eq!(rows.values, bits(&[1, 0, 0, 2, 3, 0, 4, 5]));
    let cube = variable(".global .u8 x[][2][2] = {{{1}, {2}}, {{3}}, {{4}}};");
    assert_eq!((cube.count, cube.values), (Some(12), bits(&[1, 0, 2, 0, 3, 0, 0, 0, 4])));
    let vectors = variable(".global .v2 .u32 x[2] = {{1, 2}, {3, 4}};");
    assert_eq!((vectors.count, vectors.values), (Some(4), bits(&[1, 2, 3, 4])));
    let singles = variable(".const .f32 x[] = {0f3F800000, 0d3FF0000000000000, -.5, 1e3, -0f3F800000};");
    let want = [1.0, 1.0, -0.5, 1e3, -1.0].map(|x: f32| u64::from(x.to_bits()));
    assert_eq!((singles.count, singles.values), (Some(5), bits(&want)));
    let doubles = variable(".const .f64 x[3] = {0f3F800000, 0d3FF0000000000000, 0.1};");
    assert_eq!(doubles.values, bits(&[1.0, 1.0, 0.1].map(f64::to_bits)));
    let address = |offset, generic| Initial::Address { symbol: "s".into(), offset, generic };
    let links = variable(".global .u64 x[5] = {s, s+4, generic(s), generic(s)+-8, 0};");
    let want = [address(0, false), address(4, false), address(0, true), address(-8, true), Initial::Bits(0)];
    assert_eq!(links.values, want);
}

#[test]
fn functions_and_their_parameters() {
    let text = ".visible .entry k(\n.param .u64 .ptr .global .align 16 p, .param .u64 .ptr .align 1 q, .param .u64 .ptr r,\n\
        .param .align 64 .b8 m[128], .param .v2 .f32 v)\n.maxntid 256, 1, 1 .minnctapersm 2 .explicitcluster\n\
        .reqnctapercluster 2 .pragma \"nounroll\"; { ret; }";
    let k = function(text);
    assert!(k.entry && k.body.is_some() && k.returns.is_empty());
    let params: Vec<_> =
        k.params.iter().map(|p| (p.name.as_str(), p.ty, p.align, p.count, p.space)).collect();
    let want = [
        ("p", ty('u', 64), 8, Some(1), Space::Param),
        ("q", ty('u', 64), 8, Some(1), Space::Param),
        ("r", ty('u', 64), 8, Some(1), Space::Param),
        ("m", ty('b', 8), 64, Some(128), Space::Param),
        ("v", ty('f', 32), 8, Some(2), Space::Param),
    ];
    assert_eq!(params, want);
    let directives = [
        (".maxntid".to_string(), vec![256, 1, 1]),
        (".minnctapersm".into(), vec![2]),
        (".explicitcluster".into(), vec![]),
        (".reqnctapercluster".into(), vec![2]),
    ];
    assert_eq!(k.directives, directives);
    let f = function(".extern .func (.param .b32 r) f\n(.param .b64 a, .reg .pred b) .noreturn;");
    assert!(!f.entry && f.body.is_none());
    assert_eq!((f.line, f.returns.len(), f.params.len(), f.params[1].ty), (4, 1, 2, ty('p', 1)));
    assert_eq!(f.directives, [(".noreturn".to_string(), vec![])]);
    assert!(function(".entry k { }").body.unwrap().is_empty());
    assert!(function(".func k;").body.is_none());
}

#[test]
fn an_alias_is_the_function_it_names() {
    let module = module(".func a(.param .b32 x);\n.func b(.param .b32 y) { ret; }\n.alias a, b;").unwrap();
    let [a, b] = &module.functions[..] else { panic!("{module:?}") };
    assert_eq!((a.name.as_str(), a.line, &a.params, &a.body), ("a", 4, &b.params, &b.body));
    assert!(a.body.is_some());
}

#[test]
fn declarations_in_a_body() {
    let text = ".reg .pred %p<3>, q;.reg .v2 .f32 v;\n.shared .align 8 .b8 s[16];.local.b32 l;.param .align 4 .b8 r[12];";
    let statements = body(text);
    let names =
        |list: &[(&str, Option<u32>)]| list.iter().map(|(name, n)| ((*name).to_string(), *n)).collect();
    assert_eq!(statements[0], Statement::Registers(ty('p', 1), names(&[("%p", Some(3)), ("q", None)])));
    assert_eq!(statements[1], Statement::Registers(ty('f', 32), names(&[("v.x", None), ("v.y", None)])));
    let spaces: Vec<_> = statements[2..]
        .iter()
        .map(|s| match s {
            Statement::Variable(v) => (v.space, v.count, v.align, v.line),
            other => panic!("{other:?}"),
        })
        .collect();
    let want =
        [(Space::Shared, Some(16), 8, 6), (Space::Local, Some(1), 4, 6), (Space::Param, Some(12), 4, 6)];
    assert_eq!(spaces, want);
}

#[test]
fn every_type() {
    for (text, want) in [
        ("b8", ty('b', 8)),
        ("b16", ty('b', 16)),
        ("b32", ty('b', 32)),
        ("b64", ty('b', 64)),
        ("b128", ty('b', 128)),
        ("u8", ty('u', 8)),
        ("u16", ty('u', 16)),
        ("u32", ty('u', 32)),
        ("u64", ty('u', 64)),
        ("s8", ty('s', 8)),
        ("s16", ty('s', 16)),
        ("s32", ty('s', 32)),
        ("s64", ty('s', 64)),
        ("f16", ty('f', 16)),
        ("f16x2", ty('b', 32)),
        ("f32", ty('f', 32)),
        ("f64", ty('f', 64)),
        ("pred", ty('p', 1)),
    ] {
        assert_eq!(body(&format!(".reg .{text} a;")), [Statement::Registers(want, vec![("a".into(), None)])]);
    }
}

#[test]
fn blocks_labels_and_locations() {
    let text = "{.reg .pred P;\nW: mbarrier.try_wait.parity.shared::cta.b64 P, [%r1], %r2;\n@P bra D;\nbra W;\nD:}\n\
        .loc 1 7 3\n.loc 2 8 9, function_name $L__info_string0+4, inlined_at 1 20 10\n.pragma \"a\", \"b\";\n\
        $L_brx_0: .branchtargets\n$A,\n$B;";
    let statements = body(text);
    let Statement::Block(inner) = &statements[0] else { panic!("{statements:?}") };
    assert_eq!(inner[1], Statement::Label("W".into()));
    assert_eq!(inner[5], Statement::Label("D".into()));
    let guarded = Instruction {
        guard: Some(("P".into(), false)),
        opcode: vec!["bra".into()],
        operands: vec![name("D")],
        line: 7,
    };
    assert_eq!(inner[3], Statement::Instruction(guarded));
    let want = [
        Statement::Location { file: 1, line: 7, caller: None },
        Statement::Location { file: 2, line: 8, caller: Some((1, 20)) },
        Statement::BranchTargets("$L_brx_0".into(), vec!["$A".into(), "$B".into()]),
    ];
    assert_eq!(statements[1..], want);
}

#[test]
fn guards_and_opcodes() {
    let tma = "@!%p1 cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint \
        [%r1], [%rd1, {%r2,%r2,%r2,%r2,%r2}], [%r3], %rd2;";
    let instruction_ = instruction(tma);
    assert_eq!(instruction_.guard, Some(("%p1".into(), true)));
    let want =
        "cp async bulk tensor 5d shared::cluster global tile mbarrier::complete_tx::bytes L2::cache_hint";
    assert_eq!(instruction_.opcode, want.split(' ').collect::<Vec<_>>());
    assert_eq!(instruction_.operands.len(), 4);
    assert_eq!(instruction("ld.global .L2::128B\n.b32 a, [b];").opcode, ["ld", "global", "L2::128B", "b32"]);
    assert_eq!(instruction("ret;").operands, []);
    assert_eq!(instruction("\n\nret;").line, 7);
}

#[test]
fn operands() {
    let address = |base, bytes| Operand::Address(Box::new(base), bytes);
    let pair = |a, b| Operand::Pair(Box::new(a), Box::new(b));
    for (text, want) in [
        ("%r1", name("%r1")),
        ("%tid.x", name("%tid.x")),
        ("s+16", Operand::NameOffset("s".into(), 16)),
        ("!%p1", Operand::Not("%p1".into())),
        ("%r1|%p1", pair(name("%r1"), name("%p1"))),
        ("_|%p1", pair(Operand::Sink, name("%p1"))),
        ("_", Operand::Sink),
        ("-1", Operand::Integer(-1)),
        ("0xffffffffU", Operand::Integer(0xffff_ffff)),
        ("0b101", Operand::Integer(5)),
        ("017", Operand::Integer(15)),
        ("18446744073709551615", Operand::Integer(-1)),
        ("~1", Operand::Integer(-2)),
        ("WARP_SZ", Operand::Integer(32)),
        ("0f3F800000", Operand::Single(0x3F80_0000)),
        ("-0f3F800000", Operand::Single(0xBF80_0000)),
        ("0d3FF0000000000000", Operand::Double(1f64.to_bits())),
        ("-1.5", Operand::Double((-1.5f64).to_bits())),
        ("{%r1, _, -1}", Operand::Vector(vec![name("%r1"), Operand::Sink, Operand::Integer(-1)])),
        ("[%rd1]", address(name("%rd1"), 0)),
        ("[%rd1+8]", address(name("%rd1"), 8)),
        ("[%rd1+-8]", address(name("%rd1"), -8)),
        ("[s + 0x10]", address(name("s"), 16)),
        ("[16]", address(Operand::Integer(16), 0)),
        ("[16+4]", address(Operand::Integer(16), 4)),
        ("[%rd1, {%r1,%r2}]", Operand::Tensor(Box::new(name("%rd1")), vec![name("%r1"), name("%r2")])),
        (
            "[m+64, {a, 1}, {o}]",
            Operand::Tensor(
                Box::new(Operand::NameOffset("m".into(), 64)),
                vec![name("a"), Operand::Integer(1), Operand::Vector(vec![name("o")])],
            ),
        ),
        ("(a, 3)", Operand::List(vec![name("a"), Operand::Integer(3)])),
        ("()", Operand::List(vec![])),
    ] {
        assert_eq!(operand(text), want, "{text}");
    }
}

#[test]
fn calls() {
    let list = |names: &[&str]| Operand::List(names.iter().map(|n| name(n)).collect());
    let call = |text| instruction(text).operands;
    assert_eq!(call("call.uni f;"), [name("f")]);
    assert_eq!(call("call.uni (r), f, (a, b);"), [list(&["r"]), name("f"), list(&["a", "b"])]);
    assert_eq!(
        call("call (r),\n%rd1,\n(\na\n)\n, proto;"),
        [list(&["r"]), name("%rd1"), list(&["a"]), name("proto")]
    );
    let prototypes = "p : .callprototype (.param .b32 _) _ (.param .b64 _, .param .align 8 .b8 _[16]) .noreturn;\n\
        q: .callprototype ()_();\nr: .callprototype _;\nt: .calltargets f, g;";
    assert_eq!(body(prototypes), []);
}

#[test]
fn compiled_modules() {
    for (text, functions, variables) in [
        (include_str!("ptx/general.ptx"), 11, 10),
        (include_str!("ptx/hopper.ptx"), 2, 1),
        (include_str!("ptx/debug.ptx"), 1, 0),
        (include_str!("ptx/forms.ptx"), 5, 7),
    ] {
        let module = parse(text).unwrap();
        assert_eq!(
            (module.functions.len(), module.variables.len()),
            (functions, variables),
            "{}",
            module.target
        );
    }
}
