//! Makes the programs.

use super::super::common::Random;
use super::{Condition, Function, Leave, Program, Statement, Together, VARIABLES, Value};

const OPERATIONS: [&str; 8] =
    ["add.u32", "sub.u32", "xor.b32", "mul.lo.u32", "min.s32", "max.u32", "and.b32", "or.b32"];
const TESTS: [&str; 8] = ["lt.s32", "ge.s32", "lt.u32", "gt.u32", "eq.u32", "ne.s32", "le.u32", "gt.s32"];
const REDUCTIONS: [&str; 8] =
    ["add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "xor.b32"];

/// What may be put at a place.
#[derive(Clone, Copy)]
struct Place {
    /// Levels of nesting left.
    depth: usize,
    /// Loops around.
    loops: usize,
    /// The register that holds the lanes that come here, if that is known.
    mask: Option<usize>,
    /// Lanes that come here are all of the warp.
    full: bool,
    /// The kernel may be left here.
    exits: bool,
    /// Functions below this one may be called.
    functions: usize,
    /// Variables to use.
    variables: usize,
    function: bool,
}

struct Generator<'r> {
    random: &'r mut Random,
    masks: usize,
    /// Statements left.
    budget: usize,
    /// A lane may have left in a nested place: no mask is known any more.
    lost: bool,
    /// No lane has left.
    whole: bool,
}

pub fn program(random: &mut Random) -> Program {
    let count = random.below(4) as usize;
    let mut generator = Generator { random, masks: 1, budget: 0, lost: false, whole: true };
    let mut functions = Vec::new();
    for below in 0..count {
        generator.budget = 8;
        let place = Place {
            depth: 2,
            loops: 0,
            mask: None,
            full: false,
            exits: false,
            functions: below,
            variables: 4,
            function: true,
        };
        let body = generator.body(place);
        functions.push(Function { body, by_registers: generator.random.below(2) == 0 });
    }
    generator.budget = 40;
    let place = Place {
        depth: 4,
        loops: 0,
        mask: Some(0),
        full: true,
        exits: true,
        functions: count,
        variables: VARIABLES,
        function: false,
    };
    let mut body = generator.body(place);
    while generator.budget > 8 {
        body.extend(generator.body(place));
    }
    Program { functions, body }
}

impl Generator<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u32) as usize
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn value(&mut self, place: Place) -> Value {
        match self.below(3) {
            0 => Value::Constant(self.below(9) as u32),
            1 if self.below(4) == 0 => Value::Constant(self.random.bits()),
            _ => Value::Variable(self.below(place.variables)),
        }
    }

    fn condition(&mut self, place: Place) -> Condition {
        Condition { test: self.one_of(&TESTS), a: self.below(place.variables), b: self.value(place) }
    }

    fn guard(&mut self, place: Place) -> Option<Condition> {
        (self.below(3) == 0).then(|| self.condition(place))
    }

    fn body(&mut self, place: Place) -> Vec<Statement> {
        let count = 1 + self.below(6);
        let mut body = Vec::new();
        for _ in 0..count {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            body.push(self.statement(place));
        }
        body
    }

    fn statement(&mut self, place: Place) -> Statement {
        let known = place.mask.filter(|_| !self.lost);
        let inner = Place { depth: place.depth.saturating_sub(1), mask: None, full: false, ..place };
        let d = self.below(place.variables);
        match self.below(16) {
            0..=2 if place.depth > 0 => self.branch(place, inner, known),
            3 | 4 if place.depth > 0 && place.loops < 3 => {
                let (turns, bits, bottom) =
                    (self.below(place.variables), 1 + self.below(2) as u32, self.below(2) == 0);
                let body = self.body(Place { loops: place.loops + 1, ..inner });
                Statement::Loop { depth: place.loops, turns, bits, bottom, body }
            }
            5 if place.depth > 0 => {
                let count = 1 + self.below(5);
                let cases = (0..count).map(|_| (self.body(inner), self.below(4) == 0)).collect();
                Statement::Switch { on: self.below(place.variables), cases }
            }
            6 | 7 => self.leave(place, known),
            8 | 9 if place.functions > 0 => {
                let function = self.below(place.functions);
                let arguments = [self.value(place), self.value(place)];
                Statement::Call { d, function, arguments, guard: self.guard(place) }
            }
            10..=12 if known.is_some() => self.together(place, known.unwrap_or_default()),
            _ => Statement::Assign {
                d,
                op: self.one_of(&OPERATIONS),
                a: self.below(place.variables),
                b: self.value(place),
                guard: self.guard(place),
            },
        }
    }

    fn branch(&mut self, place: Place, inner: Place, known: Option<usize>) -> Statement {
        let condition = self.condition(place);
        let Some(around) = known.filter(|_| self.below(2) == 0) else {
            let then = self.body(inner);
            let otherwise = if self.below(2) == 0 { self.body(inner) } else { Vec::new() };
            return Statement::If { condition, then, otherwise, masks: None, uniform: false };
        };
        // Exits within would leave the mask around it wrong.
        let uniform = self.below(3) == 0;
        let masks = [around, self.masks, self.masks + 1];
        self.masks += 2;
        let side = |mask| Place { mask: Some(mask), full: false, exits: false, ..inner };
        let then = self.body(side(masks[1]));
        let otherwise = self.body(side(masks[2]));
        Statement::If { condition, then, otherwise, masks: Some(masks), uniform }
    }

    fn leave(&mut self, place: Place, known: Option<usize>) -> Statement {
        let condition = self.condition(place);
        let top = place.depth == 4;
        let what = match self.below(4) {
            0 if place.loops > 0 => Leave::Break,
            1 if place.loops > 0 => Leave::Continue,
            _ if place.function => Leave::Return,
            _ if place.exits && self.below(3) == 0 => Leave::Exit,
            _ if place.loops > 0 => Leave::Break,
            _ => {
                let op = self.one_of(&OPERATIONS);
                return Statement::Assign { d: 0, op, a: condition.a, b: condition.b, guard: None };
            }
        };
        let mask = known.filter(|_| what == Leave::Exit);
        if what == Leave::Exit {
            self.whole = false;
            self.lost |= !(top && mask.is_some());
        }
        Statement::Leave { what, condition, mask }
    }

    fn together(&mut self, place: Place, mask: usize) -> Statement {
        let (d, a) = (self.below(place.variables), self.below(place.variables));
        let full = place.full && self.whole;
        let what = match self.below(8) {
            0 | 1 if full => {
                let mode = self.one_of(&["up", "down", "bfly", "idx"]);
                let segments = self.one_of(&[0u32, 0x1800, 0x1c00, 0x1000, 0x1f00]);
                let clamp = match mode {
                    "up" => 0,
                    _ => 0x1f,
                };
                Together::Shuffle(mode, self.value(place), segments | clamp)
            }
            0..=2 => Together::Broadcast,
            3 | 4 => Together::Vote(self.one_of(&["all", "any", "uni", "ballot"]), self.condition(place)),
            5 => Together::Match(self.below(2) == 0),
            6 if full => return Statement::Barrier,
            6 => return Statement::WarpBarrier { mask },
            _ => Together::Reduce(self.one_of(&REDUCTIONS)),
        };
        Statement::Together { what, d, a, mask }
    }
}
