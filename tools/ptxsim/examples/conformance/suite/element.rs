//! Cases that apply one instruction to each element of their inputs.

use super::case::{Agreement, Case, Target, word};
use super::data::mask;

/// What an element-wise case computes; `statements` reads `$a`, `$b`, `$c`, `$e` and writes `$d`.
pub struct Element<'a> {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub target: Target,
    /// Bits of each operand's register: 16, 32 or 64.
    pub operands: &'a [u32],
    /// Bits of the result's register.
    pub result: u32,
    /// PTX.
    pub statements: String,
    /// Operands of each element.
    pub rows: Vec<Vec<u64>>,
    /// How results compare.
    pub agreement: Agreement,
}

/// Result of one element from its operands.
pub type Scalar = Box<dyn Fn(&[u64]) -> u64 + Send + Sync>;

impl Element<'_> {
    /// The case, with the truth of each element if there is one.
    pub fn case(self, reference: Option<Scalar>) -> Case {
        let count = self.rows.len();
        let block = if count.is_multiple_of(128) { 128 } else { 32 };
        let mut case = Case::new(self.name, self.target, block).agreeing(self.agreement);
        case.grid[0] = count.div_ceil(block as usize) as u32;
        let mut body = String::new();
        for (k, width) in self.operands.iter().enumerate() {
            let bytes = width / 8;
            let column = self.rows.iter().flat_map(|row| row[k].to_le_bytes()[..bytes as usize].to_vec());
            case = case.bytes(column.collect());
            body += &format!(
                "mul.wide.u32 x0, i, {bytes};\nadd.s64 x0, in{k}, x0;\nld.global.b{width} {}, [x0];\n",
                register(k as u32, *width)
            );
        }
        let (result, width) = (register(4, self.result), self.result);
        let mut statements = self.statements.replace("$d", &result);
        for (k, operand) in ["$a", "$b", "$c", "$e"].iter().enumerate().take(self.operands.len()) {
            statements = statements.replace(operand, &register(k as u32, self.operands[k]));
        }
        body += &statements;
        body += &format!("\nmul.wide.u32 x1, i, {};\nadd.s64 x1, out, x1;\n", width / 8);
        body += &format!("st.global.b{width} [x1], {result};\n");
        let case = case.writes(count * (width / 8) as usize).body(&body);
        let Some(reference) = reference else { return case };
        let sizes: Vec<usize> = self.operands.iter().map(|w| *w as usize / 8).collect();
        case.expects(move |inputs, _| {
            let row = |i: usize| -> Vec<u64> {
                inputs.iter().zip(&sizes).map(|(input, s)| word(&input[i * s..(i + 1) * s])).collect()
            };
            let results = (0..count).map(|i| reference(&row(i)) & mask(width));
            results.flat_map(|r| r.to_le_bytes()[..width as usize / 8].to_vec()).collect()
        })
    }
}

fn register(number: u32, width: u32) -> String {
    let class = match width {
        16 => "h",
        32 => "r",
        _ => "x",
    };
    format!("{class}{}", number + 3)
}
