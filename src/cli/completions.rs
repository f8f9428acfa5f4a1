//! `hdc completions`.

use clap::CommandFactory;

use crate::Result;

/// Print shell completions
///
/// Example: hdc completions bash > /etc/bash_completion.d/hdc
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Writes the completion script to standard output.
pub fn run(args: Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "hdc", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
