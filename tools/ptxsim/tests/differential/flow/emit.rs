//! Writes the programs as PTX.

use std::fmt::Write;

use super::{Condition, Leave, Program, Statement, Together, Value};

const DECLARATIONS: &str = ".reg .b32 %v<6>, %m<99>, %c<4>, %t<4>; .reg .pred %p<999>, %q;\n";
const STORE: &str = "st.global.v2.b32 [%to], {%v0,%v1}; st.global.v2.b32 [%to+8], {%v2,%v3}; \
                     st.global.v2.b32 [%to+16], {%v4,%v5};";

struct Writer<'p> {
    ptx: String,
    program: &'p Program,
    labels: usize,
    predicates: usize,
    /// Where `continue` and `break` go to.
    loops: Vec<(String, String)>,
    /// What returns the result, in a function.
    result: &'static str,
}

pub fn module(program: &Program) -> String {
    let mut w =
        Writer { ptx: String::new(), program, labels: 0, predicates: 0, loops: Vec::new(), result: "" };
    w.ptx.push_str(".version 9.0\n.target sm_90a\n.address_size 64\n");
    for (i, function) in program.functions.iter().enumerate() {
        w.predicates = 0;
        if function.by_registers {
            w.result = "mov.b32 %result, %v0;";
            let _ = write!(
                w.ptx,
                ".func (.reg .b32 %result) f{i}(.reg .b32 %a, .reg .b32 %b) {{\n{DECLARATIONS}"
            );
            w.line("mov.b32 %v0, %a; mov.b32 %v1, %b;");
        } else {
            w.result = "st.param.b32 [result], %v0;";
            let _ = write!(
                w.ptx,
                ".func (.param .b32 result) f{i}(.param .b32 first, .param .b32 second) {{\n{DECLARATIONS}"
            );
            w.line("ld.param.b32 %v0, [first]; ld.param.b32 %v1, [second];");
        }
        w.line("add.u32 %v2, %v0, %v1; mov.b32 %v3, 5;");
        w.body(&function.body);
        let result = w.result;
        w.line(&format!("{result} ret;\n}}"));
    }
    w.predicates = 0;
    w.result = "";
    let _ = write!(w.ptx, ".visible .entry k(.param .u64 from, .param .u64 to) {{\n{DECLARATIONS}");
    w.line(".reg .b64 %from, %to; ld.param.u64 %from, [from]; ld.param.u64 %to, [to]; mov.u32 %t0, %tid.x;");
    w.line("mad.wide.u32 %from, %t0, 24, %from; mad.wide.u32 %to, %t0, 24, %to; mov.b32 %m0, -1;");
    w.line("ld.global.v2.b32 {%v0,%v1}, [%from]; ld.global.v2.b32 {%v2,%v3}, [%from+8];");
    w.line("ld.global.v2.b32 {%v4,%v5}, [%from+16];");
    w.body(&program.body);
    w.line(&format!("{STORE} ret;\n}}"));
    w.ptx
}

fn text(value: Value) -> String {
    match value {
        Value::Variable(v) => format!("%v{v}"),
        Value::Constant(c) => c.to_string(),
    }
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.ptx.push_str(line);
        self.ptx.push('\n');
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    /// Computes a condition; the predicate that holds it.
    fn condition(&mut self, condition: Condition) -> String {
        let p = format!("%p{}", self.predicates);
        self.predicates += 1;
        self.line(&format!("setp.{} {p}, %v{}, {};", condition.test, condition.a, text(condition.b)));
        p
    }

    fn guard(&mut self, guard: Option<Condition>) -> String {
        guard.map_or(String::new(), |condition| format!("@{} ", self.condition(condition)))
    }

    fn body(&mut self, body: &[Statement]) {
        for statement in body {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Assign { d, op, a, b, guard } => {
                let guard = self.guard(*guard);
                self.line(&format!("{guard}{op} %v{d}, %v{a}, {};", text(*b)));
            }
            Statement::If { condition, then, otherwise, masks, uniform } => {
                let p = self.condition(*condition);
                let (side, end) = (self.label(), self.label());
                if let Some([around, yes, no]) = masks {
                    if *uniform {
                        self.line(&format!("vote.sync.any.pred {p}, {p}, %m{around};"));
                    }
                    self.line(&format!("vote.sync.ballot.b32 %m{yes}, {p}, %m{around};"));
                    self.line(&format!("not.b32 %m{no}, %m{yes}; and.b32 %m{no}, %m{no}, %m{around};"));
                }
                let bra = if *uniform { "bra.uni" } else { "bra" };
                let target = if otherwise.is_empty() { &end } else { &side };
                self.line(&format!("@!{p} {bra} {target};"));
                self.body(then);
                if !otherwise.is_empty() {
                    self.line(&format!("bra.uni {end};\n{side}:"));
                    self.body(otherwise);
                }
                self.line(&format!("{end}:"));
            }
            Statement::Loop { depth, turns, bits, bottom, body } => {
                self.turns(*depth, *turns, *bits, *bottom, body)
            }
            Statement::Leave { what, condition, mask } => self.leave(*what, *condition, *mask),
            Statement::Switch { on, cases } => {
                let labels: Vec<String> = cases.iter().map(|_| self.label()).collect();
                let (table, end) = (self.label(), self.label());
                self.line(&format!("rem.u32 %t0, %v{on}, {};", cases.len()));
                self.line(&format!("{table}: .branchtargets {};\nbrx.idx %t0, {table};", labels.join(", ")));
                for ((case, falls), label) in cases.iter().zip(&labels) {
                    self.line(&format!("{label}:"));
                    self.body(case);
                    if !falls {
                        self.line(&format!("bra {end};"));
                    }
                }
                self.line(&format!("{end}:"));
            }
            Statement::Call { d, function, arguments, guard } => {
                let guard = self.guard(*guard);
                let [a, b] = arguments.map(text);
                if self.program.functions[*function].by_registers {
                    self.line(&format!("{guard}call (%v{d}), f{function}, ({a}, {b});"));
                } else {
                    self.line(&format!("{{ .param .b32 p0; st.param.b32 [p0+0], {a}; .param .b32 p1;"));
                    self.line(&format!("st.param.b32 [p1+0], {b}; .param .b32 r0;"));
                    self.line(&format!("{guard}call (r0), f{function}, (p0, p1);"));
                    self.line(&format!("{guard}ld.param.b32 %v{d}, [r0+0]; }}"));
                }
            }
            Statement::Together { what, d, a, mask } => self.together(*what, *d, *a, *mask),
            Statement::Barrier => self.line("bar.sync 0;"),
            Statement::WarpBarrier { mask } => self.line(&format!("bar.warp.sync %m{mask};")),
        }
    }

    fn turns(&mut self, depth: usize, turns: usize, bits: u32, bottom: bool, body: &[Statement]) {
        let (top, next, end) = (self.label(), self.label(), self.label());
        let p = format!("%p{}", self.predicates);
        self.predicates += 1;
        self.line(&format!("and.b32 %c{depth}, %v{turns}, {};\n{top}:", (1 << bits) - 1));
        if !bottom {
            self.line(&format!(
                "setp.eq.u32 {p}, %c{depth}, 0;\n@{p} bra {end};\nsub.u32 %c{depth}, %c{depth}, 1;"
            ));
        }
        self.loops.push((next.clone(), end.clone()));
        self.body(body);
        self.loops.pop();
        self.line(&format!("{next}:"));
        if bottom {
            self.line(&format!(
                "sub.u32 %c{depth}, %c{depth}, 1;\nsetp.gt.s32 {p}, %c{depth}, 0;\n@{p} bra {top};"
            ));
        } else {
            self.line(&format!("bra {top};"));
        }
        self.line(&format!("{end}:"));
    }

    fn leave(&mut self, what: Leave, condition: Condition, mask: Option<usize>) {
        let p = self.condition(condition);
        if let Some(mask) = mask {
            self.line(&format!("vote.sync.ballot.b32 %m{mask}, !{p}, %m{mask};"));
        }
        match (what, self.loops.last()) {
            (Leave::Break, Some((_, end))) => {
                let line = format!("@{p} bra {end};");
                self.line(&line);
            }
            (Leave::Continue, Some((next, _))) => {
                let line = format!("@{p} bra {next};");
                self.line(&line);
            }
            (Leave::Return, _) => {
                let result = self.result;
                self.line(&format!("{result} @{p} ret;"));
            }
            _ => {
                for store in STORE.split_inclusive("; ") {
                    self.line(&format!("@{p} {store}"));
                }
                self.line(&format!("@{p} exit;"));
            }
        }
    }

    fn together(&mut self, what: Together, d: usize, a: usize, mask: usize) {
        match what {
            Together::Shuffle(mode, b, c) => {
                self.line(&format!("shfl.sync.{mode}.b32 %v{d}|%q, %v{a}, {}, {c}, %m{mask};", text(b)));
                self.line(&format!("selp.b32 %t0, 1, 0, %q; add.u32 %v{d}, %v{d}, %t0;"));
            }
            Together::Broadcast => {
                self.line(&format!(
                    "bfind.u32 %t0, %m{mask}; shfl.sync.idx.b32 %v{d}, %v{a}, %t0, 31, %m{mask};"
                ));
            }
            Together::Vote("ballot", condition) => {
                let p = self.condition(condition);
                self.line(&format!("vote.sync.ballot.b32 %v{d}, {p}, %m{mask};"));
            }
            Together::Vote(mode, condition) => {
                let p = self.condition(condition);
                self.line(&format!(
                    "vote.sync.{mode}.pred %q, !{p}, %m{mask}; selp.b32 %v{d}, 7, %v{a}, %q;"
                ));
            }
            Together::Match(true) => self.line(&format!("match.any.sync.b32 %v{d}, %v{a}, %m{mask};")),
            Together::Match(false) => {
                self.line(&format!("match.all.sync.b32 %v{d}|%q, %v{a}, %m{mask};"));
                self.line(&format!("selp.b32 %t0, 1, 0, %q; xor.b32 %v{d}, %v{d}, %t0;"));
            }
            Together::Reduce(op) => self.line(&format!("redux.sync.{op} %v{d}, %v{a}, %m{mask};")),
        }
    }
}
