//! What an audit found, in words: faults, warnings, a summary.

use std::fmt;

use super::audit::{Audit, ListReport, SplitReport};
use crate::data::lists::some_of;

impl Audit {
    /// What has to be mended before the lists can be used, one line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for ListReport { path, missing, .. } in self.lists.iter().filter(|l| !l.missing.is_empty()) {
            faults.push(format!("{} names what is not there: {}", path.display(), some_of(missing)));
        }
        for SplitReport { name, both, .. } in self.splits.iter().filter(|s| !s.both.is_empty()) {
            faults.push(format!("split {name:?} trains and tests with {}", some_of(both)));
        }
        let unreadable: Vec<_> =
            self.unreadable.iter().map(|r| format!("{} ({})", r.path, r.reason)).collect();
        let folders = |names: &[String]| format!("{}: {}", names.len(), names.join(", "));
        for (names, line) in [
            (&unreadable, format!("cannot be read: {}", some_of(&unreadable))),
            (&self.misplaced, format!("in the folder of another class: {}", some_of(&self.misplaced))),
            (
                &self.unknown_folders,
                format!("folders that classInd.txt does not name, {}", folders(&self.unknown_folders)),
            ),
        ] {
            faults.extend((!names.is_empty()).then_some(line));
        }
        faults
    }

    /// What should be known and may be meant, one line each.
    pub(super) fn warn(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for s in &self.splits {
            if let (Some(known), Some(false)) = (s.known, s.agrees) {
                warnings.push(format!("split {:?} has not as many videos as {known}'s", s.name));
            }
            if !s.groups.is_empty() {
                let groups = s.groups.len();
                warnings.push(format!(
                    "split {:?} trains and tests with clips of one recording, in {groups} groups such as {}",
                    s.name, s.groups[0]
                ));
            }
        }
        for (names, line) in
            [(&self.extra, "in no list"), (&self.short, "shorter than a clip, so repeated to fill one")]
        {
            warnings.extend((!names.is_empty()).then(|| format!("{line}: {}", some_of(names))));
        }
        if !self.empty_classes.is_empty() {
            warnings
                .push(format!("classes of classInd.txt without a folder: {}", self.empty_classes.join(", ")));
        }
        for case in &self.case_differs {
            warnings.push(format!("files in the folder {} call their class {}", case.folder, case.file));
        }
        warnings
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for list in &self.lists {
            let parts: Vec<_> = list.videos.iter().map(|(role, n)| format!("{n} {}", role.name())).collect();
            writeln!(
                f,
                "list {}: {}; {} missing, {} unreadable",
                list.path.display(),
                parts.join(", "),
                list.missing.len(),
                list.unreadable.len()
            )?;
        }
        for s in self.splits.iter().filter(|s| s.train + s.test > 0) {
            write!(f, "split {:?}: {} classes, {} train, {} test", s.name, s.classes, s.train, s.test)?;
            match (s.known, s.agrees) {
                (Some(known), Some(true)) => writeln!(f, "; agrees with {known}")?,
                (Some(known), _) => writeln!(f, "; differs from {known}")?,
                _ => writeln!(f)?,
            }
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}
