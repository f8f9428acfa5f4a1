//! Compiles `kernels/*.cu` to PTX and writes the table that `src/device/kernels.rs` includes. It never needs a
//! GPU; without nvcc the table is empty and the crate still builds.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `tools/setup` puts nvcc.
const LOCAL_NVCC: &str = ".cuda/nvidia/cu13/bin/nvcc";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build.rs"); // `tools/setup` touches it when it installs nvcc
    println!("cargo::rerun-if-changed=kernels");
    for name in ["HDC_NVCC", "CUDA_HOME"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let kernels = match find_nvcc(&root) {
        Err(message) => fail(&message),
        Ok(None) => {
            println!("cargo::rerun-if-env-changed=PATH");
            println!(
                "cargo::warning=no nvcc: building without CUDA kernels (the CPU needs none). To have them, run \
                 tools/setup, or set HDC_NVCC to the path of nvcc, then build again"
            );
            Vec::new()
        }
        Ok(Some(nvcc)) => {
            println!("cargo::rerun-if-changed={}", nvcc.display());
            compile_all(&nvcc, &root.join("kernels"), &out).unwrap_or_else(|message| fail(&message))
        }
    };
    fs::write(out.join("kernels.rs"), table(&kernels)).unwrap_or_else(|e| fail(&format!("kernels.rs: {e}")));
}

/// Ends the build with a message that cargo shows line by line.
fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1);
}

/// A compiled kernel file.
struct Compiled {
    name: String,
    arch: &'static str,
    ptx: PathBuf,
}

/// `HDC_NVCC`, else `$CUDA_HOME/bin/nvcc`, else `nvcc` on PATH, else the one `tools/setup` installed. A path
/// that the user named but where nothing is, is an error.
fn find_nvcc(root: &Path) -> Result<Option<PathBuf>, String> {
    if let Some(nvcc) = env::var_os("HDC_NVCC").filter(|v| !v.is_empty()) {
        let nvcc = PathBuf::from(nvcc);
        return match nvcc.is_file() {
            true => Ok(Some(nvcc)),
            false => {
                Err(format!("HDC_NVCC is {}, which is not a file: correct it or unset it", nvcc.display()))
            }
        };
    }
    let home = env::var_os("CUDA_HOME").filter(|v| !v.is_empty()).map(|home| Path::new(&home).join("bin/nvcc"));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("nvcc"));
    Ok(home.into_iter().chain(on_path).chain([root.join(LOCAL_NVCC)]).find(|nvcc| nvcc.is_file()))
}

/// Compiles every `.cu` of a folder, all at once, into `out`; sorted by name.
fn compile_all(nvcc: &Path, folder: &Path, out: &Path) -> Result<Vec<Compiled>, String> {
    let mut sources: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .map(|entry| entry.map(|e| e.path()).map_err(|e| format!("{}: {e}", folder.display())))
        .collect::<Result<_, _>>()?;
    sources.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    sources.sort();
    std::thread::scope(|scope| {
        let running: Vec<_> =
            sources.iter().map(|source| scope.spawn(move || compile(nvcc, source, out))).collect();
        running.into_iter().map(|thread| thread.join().expect("compile does not panic")).collect()
    })
}

/// Compiles one file. PTX of `compute_80` runs on every GPU since; that of `compute_90a` on Hopper alone, so
/// files that need it say so in their name.
fn compile(nvcc: &Path, source: &Path, out: &Path) -> Result<Compiled, String> {
    let name = source.file_stem().and_then(|s| s.to_str()).ok_or("a kernel's name is not UTF-8")?.to_owned();
    let arch = if name.ends_with("_sm90") { "compute_90a" } else { "compute_80" };
    let ptx = out.join(format!("{name}.ptx"));
    let args: [OsString; 9] = [
        "-ptx".into(),
        format!("-arch={arch}").into(),
        "-std=c++17".into(),
        "-O3".into(),
        "--Werror=all-warnings".into(),
        "-I".into(),
        source.parent().expect("a file has a folder").into(),
        "-o".into(),
        ptx.clone().into(),
    ];
    let run = Command::new(nvcc)
        .args(args)
        .arg(source)
        .output()
        .map_err(|e| format!("cannot run {}: {e}; run tools/setup, or correct HDC_NVCC", nvcc.display()))?;
    if !run.status.success() {
        let said = [run.stdout, run.stderr].concat();
        return Err(format!("nvcc refused {}:\n{}", source.display(), String::from_utf8_lossy(&said)));
    }
    Ok(Compiled { name, arch, ptx })
}

/// The Rust expression of the table.
fn table(kernels: &[Compiled]) -> String {
    let mut text = String::from("&[\n");
    for k in kernels {
        writeln!(
            text,
            "    Kernel {{ name: {:?}, arch: {:?}, ptx: include_str!({:?}) }},",
            k.name, k.arch, k.ptx
        )
        .expect("writing to a string");
    }
    text + "]\n"
}
