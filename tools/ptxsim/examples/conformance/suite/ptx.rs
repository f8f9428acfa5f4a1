//! The frame of a case's PTX module.

use std::fmt::Write;

use super::case::Target;

/// A module with one entry, `kernel`, around `body`.
///
/// The body finds the addresses of the inputs in `in0`, `in1`, …, of the output in `out`, of the tensor maps
/// in `map0`, …; the thread's index in the CTA in `tid`, in the grid in `i`, its lane in `lane`; and may use
/// the registers `h0`-`h63` (16 bits), `r0`-`r299` (32), `x0`-`x99` (64) and the predicates `p0`-`p19`.
/// Each body begins and ends on lines of its own.
pub fn module(target: Target, inputs: usize, maps: usize, body: &str) -> String {
    let buffers: Vec<String> =
        (0..inputs).map(|k| format!("in{k}")).chain(std::iter::once("out".to_owned())).collect();
    let mut params: Vec<String> = buffers.iter().map(|b| format!("\t.param .u64 p_{b}")).collect();
    params.extend((0..maps).map(|k| format!("\t.param .align 64 .b8 p_map{k}[128]")));
    // setmaxnreg and large accumulators need a bound on the registers; every case has at most 256 threads.
    let mut text = format!(
        ".version 8.3\n.target {}\n.address_size 64\n\n.visible .entry kernel(\n{}\n)\n\
         .maxntid 256, 1, 1\n{{\n",
        target.name(),
        params.join(",\n")
    );
    text.push_str("\t.reg .pred p<20>;\n\t.reg .b16 h<64>;\n\t.reg .b32 r<300>;\n\t.reg .b64 x<100>;\n");
    text.push_str("\t.reg .b32 tid, lane, i;\n");
    for buffer in &buffers {
        let _ = writeln!(
            text,
            "\t.reg .b64 {buffer};\n\tld.param.u64 {buffer}, [p_{buffer}];\n\tcvta.to.global.u64 {buffer}, {buffer};"
        );
    }
    for k in 0..maps {
        let _ = writeln!(
            text,
            "\t.reg .b64 map{k};\n\tmov.b64 map{k}, p_map{k};\n\tcvta.param.u64 map{k}, map{k};"
        );
    }
    text.push_str("\tmov.u32 tid, %tid.x;\n\tmov.u32 lane, %laneid;\n\tmov.u32 r0, %ctaid.x;\n");
    text.push_str("\tmov.u32 r1, %ntid.x;\n\tmad.lo.u32 i, r0, r1, tid;\n");
    for line in body.lines() {
        text.push('\t');
        text.push_str(line.trim());
        text.push('\n');
    }
    text.push_str("\tret;\n}\n");
    text
}

/// `prefix0, prefix1, …` from `first`, as in a vector operand without braces.
pub fn list(prefix: &str, first: usize, count: usize) -> String {
    (first..first + count).map(|k| format!("{prefix}{k}")).collect::<Vec<_>>().join(", ")
}

/// Loads `count` consecutive 32-bit words of the thread into `r{first}…` from `base[i * count]`.
pub fn load_words(base: &str, first: usize, count: usize) -> String {
    let mut text = format!("mul.wide.u32 x90, i, {};\nadd.s64 x90, {base}, x90;\n", 4 * count);
    for k in 0..count {
        let _ = writeln!(text, "ld.global.b32 r{}, [x90+{}];", first + k, 4 * k);
    }
    text
}

/// Stores `count` consecutive 32-bit words of the thread from `r{first}…` to `out[i * count]`.
pub fn store_words(first: usize, count: usize) -> String {
    let mut text = format!("mul.wide.u32 x91, i, {};\nadd.s64 x91, out, x91;\n", 4 * count);
    for k in 0..count {
        let _ = writeln!(text, "st.global.b32 [x91+{}], r{};", 4 * k, first + k);
    }
    text
}
