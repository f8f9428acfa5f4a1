//! The build script's compiler driver: a kernel becomes PTX for its architecture, a broken one fails with nvcc's
//! own message.

use std::fs;
use std::path::Path;

#[expect(dead_code, reason = "the script's own main is not called here")]
#[path = "../build.rs"]
mod build_script;

use build_script::{compile_all, find_nvcc};

#[test]
fn kernels_compile_for_the_architecture_that_their_name_asks_for() {
    let Some(nvcc) = find_nvcc(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap() else {
        assert!(std::env::var_os("HDC_REQUIRE_KERNELS").is_none(), "no nvcc: run tools/setup");
        println!("skipped: no nvcc");
        return;
    };
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("b_sm90.cu", "#include \"part.cuh\"\nextern \"C\" __global__ void b(float* x) { *x = kPart; }");
    write("a.cu", "extern \"C\" __global__ void a(float* x) { *x = 1.0f; }");
    write("part.cuh", "constexpr float kPart = 2.0f;");
    let kernels = compile_all(&nvcc, folder.path(), out.path()).unwrap_or_else(|e| panic!("{e}"));
    let found: Vec<_> = kernels.iter().map(|k| (k.name.as_str(), k.arch)).collect();
    assert_eq!(found, [("a", "compute_80"), ("b_sm90", "compute_90a")]);
    for (kernel, target) in kernels.iter().zip([".target sm_80", ".target sm_90a"]) {
        let ptx = fs::read_to_string(&kernel.ptx).unwrap();
        assert!(ptx.contains(target), "{ptx}");
        compile_all(&nvcc, folder.path(), out.path()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            ptx,
            fs::read_to_string(&kernel.ptx).unwrap(),
            "twice the same source, twice the same PTX"
        );
    }

    write("broken.cu", "extern \"C\" __global__ void c(float* x) { *x = no_such_name; }");
    let message = compile_all(&nvcc, folder.path(), out.path()).err().expect("it is broken");
    assert!(message.contains("broken.cu") && message.contains("no_such_name"), "{message}");
}

#[test]
fn an_nvcc_that_does_not_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.cu"), "").unwrap();
    let message = compile_all(Path::new("nowhere/nvcc"), folder.path(), folder.path()).err().unwrap();
    assert!(message.contains("nowhere/nvcc") && message.contains("tools/setup"), "{message}");
}
