//! `ldmatrix`, `stmatrix` and `movmatrix` of every form.

use super::super::common::{Machine, Params, Random, grid, told};
use super::{HEADER, list};

/// Rows of 16 bytes in shared memory.
const ROWS: usize = 64;

/// Copies shared memory in from global memory, does something with `%q`, a lane's address, and copies both out.
fn kernel(body: &str, space: &str) -> String {
    let generic = if space.is_empty() { "cvta.shared.u64 %q, %q;" } else { "" };
    format!(
        "{HEADER}.visible .entry k(.param .u64 image, .param .u64 rows, .param .u64 registers) {{
.shared .align 128 .b8 slab[{}];
.reg .b32 %r<8>, %lane, %row, %s; .reg .b64 %image, %rows, %registers, %q; .reg .b64 %x<2>;
ld.param.u64 %image, [image]; ld.param.u64 %rows, [rows]; ld.param.u64 %registers, [registers];
mov.u32 %lane, %tid.x; mad.wide.u32 %image, %lane, 32, %image; mad.wide.u32 %rows, %lane, 4, %rows;
mad.wide.u32 %registers, %lane, 16, %registers; mov.u32 %s, slab; mad.lo.u32 %s, %lane, 32, %s;
ld.global.v2.b64 {{%x0,%x1}}, [%image]; st.shared.v2.b64 [%s], {{%x0,%x1}};
ld.global.v2.b64 {{%x0,%x1}}, [%image+16]; st.shared.v2.b64 [%s+16], {{%x0,%x1}};
ld.global.v4.b32 {{%r0,%r1,%r2,%r3}}, [%registers]; ld.global.b32 %row, [%rows];
mov.u64 %q, slab; mad.wide.u32 %q, %row, 16, %q; {generic}
bar.sync 0;
{body}
bar.sync 0;
st.global.v4.b32 [%registers], {{%r0,%r1,%r2,%r3}};
ld.shared.v2.b64 {{%x0,%x1}}, [%s]; st.global.v2.b64 [%image], {{%x0,%x1}};
ld.shared.v2.b64 {{%x0,%x1}}, [%s+16]; st.global.v2.b64 [%image+16], {{%x0,%x1}};
ret;
}}\n",
        ROWS * 16
    )
}

/// Runs it: shared memory as 16-bit elements, eight a row, and four registers a lane, after it.
fn run(ptx: &str, image: &[u16], rows: &[u32], registers: &[u32]) -> (Vec<u16>, Vec<u32>) {
    let machine = Machine::new();
    let module = machine.load(ptx);
    let at = [machine.put(image), machine.put(rows), machine.put(registers)];
    let params = at.into_iter().fold(Params::default(), Params::with);
    let outcome = machine.run(&module, "k", grid(1, 32, 0), &params);
    assert!(outcome.findings.is_empty(), "{}\n{ptx}", told(&outcome));
    (machine.get(at[0], image.len()), machine.get(at[2], registers.len()))
}

/// Element `half` of a lane's register: row and column.
fn position(lane: usize, half: usize, transposed: bool) -> (usize, usize) {
    let (row, column) = (lane / 4, lane % 4 * 2 + half);
    if transposed { (column, row) } else { (row, column) }
}

#[test]
fn loads_and_stores_of_matrices() {
    let random = &mut Random::new(5);
    for round in 0..4 {
        for count in [1, 2, 4] {
            for transposed in [false, true] {
                for space in ["", ".shared", ".shared::cta"] {
                    let trans = if transposed { ".trans" } else { "" };
                    let modifiers = format!("sync.aligned.m8n8.x{count}{trans}{space}.b16");
                    let image: Vec<u16> = (0..ROWS * 8).map(|_| random.bits() as u16).collect();
                    let registers: Vec<u32> = (0..32 * 4).map(|_| random.bits()).collect();
                    // Any rows, none twice.
                    let mut rows: Vec<u32> = (0..ROWS as u32).collect();
                    for i in 0..32 {
                        rows.swap(i, i + random.below((ROWS - i) as u32) as usize);
                    }
                    rows.truncate(32);
                    let own = format!("{{{}}}", list("%r", count));
                    let row = |matrix: usize, row: usize| rows[8 * matrix + row] as usize * 8;

                    let ptx = kernel(&format!("ldmatrix.{modifiers} {own}, [%q];"), space);
                    let (after, loaded) = run(&ptx, &image, &rows, &registers);
                    assert_eq!(after, image);
                    let mut wanted = registers.clone();
                    for (lane, matrix) in
                        (0..32).flat_map(|lane| (0..count).map(move |matrix| (lane, matrix)))
                    {
                        let half = |half: usize| {
                            let (r, c) = position(lane, half, transposed);
                            u32::from(image[row(matrix, r) + c])
                        };
                        wanted[4 * lane + matrix] = half(0) | half(1) << 16;
                    }
                    assert_eq!(loaded, wanted, "ldmatrix.{modifiers} {round}");

                    let ptx = kernel(&format!("stmatrix.{modifiers} [%q], {own};"), space);
                    let (after, _) = run(&ptx, &image, &rows, &registers);
                    let mut wanted = image.clone();
                    for (lane, matrix) in
                        (0..32).flat_map(|lane| (0..count).map(move |matrix| (lane, matrix)))
                    {
                        for half in 0..2 {
                            let (r, c) = position(lane, half, transposed);
                            wanted[row(matrix, r) + c] = (registers[4 * lane + matrix] >> (16 * half)) as u16;
                        }
                    }
                    assert_eq!(after, wanted, "stmatrix.{modifiers} {round}");
                }
            }
        }
        let registers: Vec<u32> = (0..32 * 4).map(|_| random.bits()).collect();
        let ptx = kernel("movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r2;", ".shared");
        let (_, moved) = run(&ptx, &[7; ROWS * 8], &[0; 32], &registers);
        for lane in 0..32 {
            for half in 0..2 {
                let (row, column) = position(lane, half, true);
                let from = registers[4 * (4 * row + column / 2) + 2] >> (16 * (column % 2));
                assert_eq!(moved[4 * lane + 1] >> (16 * half) & 0xffff, from & 0xffff);
            }
        }
    }
}
