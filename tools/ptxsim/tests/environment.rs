//! What a program sees of the checker through the driver API, and what the environment variables change.

mod common;

use common::driver::{again, launch};
use ptxsim as _; // links the driver

const KERNELS: &std::ffi::CStr = c".version 8.0
.target sm_80
.address_size 64
.visible .entry fill(.param .u64 y)
{
    .reg .b32 %r;
    .reg .b64 %rd<3>;
    .loc 1 12 3
    ld.param.u64 %rd0, [y];
    mov.u32 %r, %tid.x;
    mul.wide.u32 %rd1, %r, 4;
    add.u64 %rd2, %rd0, %rd1;
    .loc 1 13 5
    st.global.b32 [%rd2], %r;
    ret;
}
.visible .entry race(.param .u64 y)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd;
    ld.param.u64 %rd, [y];
    mov.u32 %r0, %tid.x;
    shr.u32 %r1, %r0, 5;
    .loc 1 22 5
    st.global.b32 [%rd], %r1;
    ret;
}
.visible .entry odd(.param .u64 y)
{
    .reg .b32 %r;
    .reg .b64 %rd;
    ld.param.u64 %rd, [y];
    .loc 1 32 5
    ld.global.b32 %r, [%rd+2];
    ret;
}
.visible .entry endless(.param .u64 y)
{
    .loc 1 42 5
L:  bra L;
}
.file 1 \"kernels.cu\"
";

/// Launches kernels and says how that ended.
fn tell(launches: &[(&std::ffi::CStr, u32)]) {
    for (kernel, threads) in launches {
        println!("{} ended with {}", kernel.to_str().expect("ASCII"), launch(KERNELS, kernel, *threads));
    }
}

#[test]
fn findings_are_statuses_and_text() {
    let Some(text) = again("findings_are_statuses_and_text", &[]) else {
        return tell(&[(c"fill", 32), (c"fill", 33), (c"race", 64), (c"odd", 1)]);
    };
    let endings = ["fill ended with 0", "fill ended with 700", "race ended with 719", "odd ended with 716"];
    assert!(endings.iter().all(|ending| text.contains(ending)), "{text}");
    let findings: Vec<&str> = text.lines().filter(|line| line.starts_with("ptxsim: ")).collect();
    let places = [
        ("out of bounds: ", " in fill block (0,0,0) thread (32,0,0), PTX line 14 (kernels.cu:13)"),
        ("race: ", " in race block (0,0,0) thread (1,0,0), PTX line 25 (kernels.cu:22)"),
        ("misaligned: ", " in odd block (0,0,0) thread (0,0,0), PTX line 34 (kernels.cu:32)"),
    ];
    assert_eq!(findings.len(), places.len(), "{text}");
    for (finding, (kind, place)) in findings.iter().zip(places) {
        assert!(finding.starts_with(&format!("ptxsim: {kind}")) && finding.ends_with(place), "{finding}");
    }
}

#[test]
fn without_the_checker_bounds_and_alignment_are_looked_at() {
    let variables = [("PTXSIM_CHECK", "0")];
    let Some(text) = again("without_the_checker_bounds_and_alignment_are_looked_at", &variables) else {
        return tell(&[(c"fill", 33), (c"race", 64), (c"odd", 1)]);
    };
    let endings = ["fill ended with 700", "race ended with 0", "odd ended with 716"];
    assert!(endings.iter().all(|ending| text.contains(ending)), "{text}");
}

#[test]
fn the_watchdog_ends_what_does_not_end() {
    let Some(text) = again("the_watchdog_ends_what_does_not_end", &[("PTXSIM_WATCHDOG", "5000")]) else {
        return tell(&[(c"fill", 32), (c"endless", 64)]);
    };
    assert!(text.contains("fill ended with 0") && text.contains("endless ended with 719"), "{text}");
    for waits in
        ["deadlock: no end in sight", "warp 0 lanes 0xffffffff", "warp 1 lanes 0xffffffff", "kernels.cu:42"]
    {
        assert!(text.contains(waits), "{waits}: {text}");
    }
}

#[test]
fn a_value_that_is_none_is_named() {
    for variable in ["PTXSIM_WATCHDOG", "PTXSIM_CHECK"] {
        let Some(text) = again("a_value_that_is_none_is_named", &[(variable, "soon")]) else {
            return tell(&[(c"fill", 32)]);
        };
        assert!(text.contains(&format!("{variable} is soon")) && !text.contains("ended with 0"), "{text}");
    }
}

#[test]
fn reports_are_one_object_a_line() {
    const NAME: &str = "reports_are_one_object_a_line";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("report.json");
    for _ in 0..2 {
        let variables = [("PTXSIM_REPORT", path.to_str().expect("UTF-8"))];
        let Some(_) = again(NAME, &variables) else { return tell(&[(c"fill", 32), (c"fill", 33)]) };
    }
    let text = std::fs::read_to_string(&path).expect("the report");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4, "two launches of each of two processes:\n{text}");
    assert!(text.ends_with('\n'));
    for pair in lines.chunks_exact(2) {
        let [good, bad] = pair else { unreachable!() };
        for (line, threads) in [(good, 32), (bad, 33)] {
            assert_eq!(line["kernel"], "fill");
            assert_eq!(line["grid"], serde_json::json!([1, 1, 1]));
            assert_eq!(line["block"], serde_json::json!([threads, 1, 1]));
            assert_eq!(line["dynamic_shared"], 0);
            assert_eq!(line["counters"]["global_store"]["unique_bytes"], 128);
        }
        assert_eq!(good["warp_instructions"], 6);
        assert_eq!(good["findings"], serde_json::json!([]));
        assert_eq!(
            good["counters"]["instructions"]["global"],
            serde_json::json!({"warps": 1, "threads": 32})
        );
        assert_eq!(good["counters"]["accesses"][0]["source"], "kernels.cu:13");
        let [finding] = &bad["findings"].as_array().expect("a list")[..] else { panic!("{bad}") };
        let text = finding["text"].as_str().unwrap_or_default();
        assert!(text.contains("0 bytes past the end of the 128-byte allocation"), "{text}");
        let wanted = serde_json::json!({
            "kind": "out_of_bounds", "kernel": "fill", "block": [0, 0, 0], "thread": [32, 0, 0], "line": 14,
            "source": "kernels.cu:13", "text": text,
        });
        assert_eq!(*finding, wanted);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_said_and_does_no_harm() {
    let variables = [("PTXSIM_REPORT", "/nowhere/report.json")];
    let Some(text) = again("a_report_that_cannot_be_written_is_said_and_does_no_harm", &variables) else {
        return tell(&[(c"fill", 32)]);
    };
    assert!(
        text.contains("cannot write /nowhere/report.json") && text.contains("fill ended with 0"),
        "{text}"
    );
}
