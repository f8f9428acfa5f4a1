//! Micro-kernels, one for each primitive and layout of PTX that a hand-written engine uses, whose outputs show
//! whether a simulator believes about PTX what a GPU does.
//!
//! ```text
//! conformance list
//! conformance ptx --out DIR                 every case's PTX, for an assembler
//! conformance run [--filter F] [--dump DIR] compare with the definition and with the record
//! conformance record --out FILE [--filter F] [--dump DIR]
//! conformance compare DIR1 DIR2             two machines' dumps
//! conformance unsupported                   names of the cases that a simulator refuses
//! ```
//!
//! It runs on the CUDA driver of the machine, or on the library that `PTXSIM_DRIVER` names, or with
//! `--simulate` on the `libptxsim.so` beside the executable.

mod suite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use suite::case::Case;
use suite::expected::{Entry, Expected, judge};
use suite::machine::{Failure, Machine, load_driver};

const EXPECTED: &str = include_str!("../../conformance/expected.json");

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| options.execute()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("conformance: {what}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    command: String,
    folders: Vec<PathBuf>,
    filter: String,
    out: Option<PathBuf>,
    dump: Option<PathBuf>,
    simulate: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--filter" => options.filter = value()?,
                "--out" => options.out = Some(value()?.into()),
                "--dump" => options.dump = Some(value()?.into()),
                "--simulate" => options.simulate = true,
                other if other.starts_with("--") => return Err(format!("there is no option {other}")),
                _ if options.command.is_empty() => options.command = argument,
                _ => options.folders.push(argument.into()),
            }
        }
        Ok(options)
    }

    /// Whether all agrees.
    fn execute(&self) -> Result<bool, String> {
        let mut cases = suite::cases();
        cases.retain(|case| case.name.contains(&self.filter));
        match (self.command.as_str(), self.folders.as_slice()) {
            ("list", []) => {
                for case in &cases {
                    println!("{} {}", case.name, case.target.name());
                }
                Ok(true)
            }
            ("ptx", []) => self.write_ptx(&cases),
            ("run", []) => self.run(&cases),
            ("record", []) => self.record(&cases),
            ("unsupported", []) => self.unsupported(&cases),
            ("compare", [ours, theirs]) => compare(&cases, ours, theirs),
            _ => {
                Err("list | ptx --out DIR | run | record --out FILE | compare DIR DIR | unsupported"
                    .to_owned())
            }
        }
    }

    fn write_ptx(&self, cases: &[Case]) -> Result<bool, String> {
        let folder = self.out.as_ref().ok_or("ptx needs --out DIR")?;
        for case in cases {
            let file = folder.join(case.target.name()).join(format!("{}.ptx", file_name(&case.name)));
            write(&file, case.ptx.as_bytes())?;
        }
        Ok(true)
    }

    fn machine(&self) -> Result<Machine, String> {
        if let Some(path) = std::env::var_os("PTXSIM_DRIVER").filter(|path| !path.is_empty()) {
            load_driver(Path::new(&path))?;
        } else if self.simulate {
            let executable = std::env::current_exe().map_err(|e| e.to_string())?;
            let beside = executable.ancestors().skip(1).take(2).map(|folder| folder.join("libptxsim.so"));
            let found = beside.into_iter().find(|path| path.exists());
            load_driver(&found.ok_or("there is no libptxsim.so beside the executable")?)?;
        }
        let machine = Machine::open()?;
        eprintln!("{}", machine.source());
        Ok(machine)
    }

    /// Runs the cases that the machine can, and gives each result to `each`.
    fn each(
        &self,
        cases: &[Case],
        machine: &Machine,
        mut each: impl FnMut(&Case, Outcome),
    ) -> Result<(), String> {
        for case in cases.iter().filter(|case| case.target.runs_on(machine.capability)) {
            let outcome = match machine.run(case) {
                Ok(output) => Outcome::Output(output),
                Err(Failure::Refused(what)) => Outcome::Refused(what),
                Err(Failure::Case(what)) => Outcome::Failed(what),
                Err(Failure::Machine(what)) => return Err(format!("{}: {what}", case.name)),
            };
            if let (Some(folder), Outcome::Output(output)) = (&self.dump, &outcome) {
                write(&folder.join(format!("{}.bin", file_name(&case.name))), output)?;
            }
            each(case, outcome);
        }
        Ok(())
    }

    fn run(&self, cases: &[Case]) -> Result<bool, String> {
        let expected = Expected::parse(EXPECTED)?;
        let machine = self.machine()?;
        let mut table = Table::default();
        self.each(cases, &machine, |case, outcome| {
            let row = table.row(case);
            match outcome {
                Outcome::Failed(what) => row.differ(case, &[what]),
                Outcome::Refused(_) => row.refused += 1,
                Outcome::Output(output) => {
                    let verdict = judge(case, &output, &machine, &expected);
                    row.open += usize::from(verdict.open);
                    row.unrecorded += usize::from(verdict.unrecorded);
                    row.differ(case, &verdict.differences);
                }
            }
        })?;
        Ok(table.print())
    }

    fn record(&self, cases: &[Case]) -> Result<bool, String> {
        let file = self.out.as_ref().ok_or("record needs --out FILE")?;
        let old = std::fs::read_to_string(file).unwrap_or_default();
        let mut expected = if old.is_empty() { Expected::default() } else { Expected::parse(&old)? };
        let machine = self.machine()?;
        let mut table = Table::default();
        let mut kept = 0;
        self.each(cases, &machine, |case, outcome| match outcome {
            Outcome::Failed(what) => table.row(case).differ(case, &[what]),
            Outcome::Refused(_) => table.row(case).refused += 1,
            Outcome::Output(output) => {
                let verdict = judge(case, &output, &machine, &Expected::default());
                table.row(case).differ(case, &verdict.differences);
                // What a simulator gets wrong is no expectation; what a GPU does always is.
                if verdict.differences.is_empty() || !machine.is_simulator() {
                    kept += usize::from(!expected.record(&case.name, Entry::new(case, &machine, &output)));
                }
            }
        })?;
        if kept > 0 {
            println!("{kept} entries of a GPU stay as they are");
        }
        write(file, expected.to_text().as_bytes())?;
        Ok(table.print())
    }
}

impl Options {
    fn unsupported(&self, cases: &[Case]) -> Result<bool, String> {
        let machine = self.machine()?;
        self.each(cases, &machine, |case, outcome| {
            if let Outcome::Refused(what) = outcome {
                println!("{}", case.name);
                eprintln!("{}: {what}", case.name);
            }
        })?;
        Ok(true)
    }
}

/// What came of a case.
enum Outcome {
    Output(Vec<u8>),
    /// A simulator does not know what the case needs.
    Refused(String),
    Failed(String),
}

/// Cases of a family.
#[derive(Default)]
struct Row {
    cases: usize,
    different: usize,
    open: usize,
    unrecorded: usize,
    refused: usize,
}

impl Row {
    fn differ(&mut self, case: &Case, differences: &[String]) {
        self.different += usize::from(!differences.is_empty());
        for difference in differences {
            println!("{}: {difference}", case.name);
        }
    }
}

#[derive(Default)]
struct Table(BTreeMap<String, Row>);

impl Table {
    fn row(&mut self, case: &Case) -> &mut Row {
        let row = self.0.entry(case.name.split('/').next().unwrap_or_default().to_owned()).or_default();
        row.cases += 1;
        row
    }

    /// Whether nothing differs.
    fn print(&self) -> bool {
        println!(
            "{:<24}{:>8}{:>11}{:>8}{:>12}{:>9}",
            "family", "cases", "different", "open", "unrecorded", "refused"
        );
        for (family, row) in &self.0 {
            let Row { cases, different, open, unrecorded, refused } = row;
            println!("{family:<24}{cases:>8}{different:>11}{open:>8}{unrecorded:>12}{refused:>9}");
        }
        self.0.values().all(|row| row.different == 0)
    }
}

fn compare(cases: &[Case], ours: &Path, theirs: &Path) -> Result<bool, String> {
    let mut table = Table::default();
    for case in cases {
        let file = format!("{}.bin", file_name(&case.name));
        let read = |folder: &Path| std::fs::read(folder.join(&file));
        let (Ok(ours), Ok(theirs)) = (read(ours), read(theirs)) else { continue };
        let all = case.agreement.differences(&ours, &theirs);
        let mut texts: Vec<String> = all.iter().take(3).map(ToString::to_string).collect();
        if all.len() > 3 {
            texts.push(format!("and {} more", all.len() - 3));
        }
        table.row(case).differ(case, &texts);
    }
    Ok(table.print())
}

fn file_name(case: &str) -> String {
    case.replace('/', "~")
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), String> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    std::fs::write(file, bytes).map_err(|e| format!("{}: {e}", file.display()))
}
