//! The paper's tables: their rows as settings, and its figures.

use serde::Serialize;

/// A table of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Spatial and temporal contrast at more and more blocks, and from scratch
    #[value(name = "1")]
    Losses,
    /// One augmentation left out
    #[value(name = "2")]
    Augmentations,
    /// The three backbones
    #[value(name = "3")]
    Backbones,
    /// Retrieval, beside the paper's figures of UCF101
    #[value(name = "4")]
    RetrievalUcf101,
    /// Retrieval, beside the paper's figures of HMDB51
    #[value(name = "5")]
    RetrievalHmdb51,
    /// Section 4.1: the temporal variant with and without spatial augmentation
    Variant,
    /// No table of the paper: what a network starts from, by a linear probe and fine-tuned
    Starts,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableRow {
    /// Part of file names.
    pub id: &'static str,
    /// What the row is.
    pub name: &'static str,
    /// Whether it is pretrained.
    pub pretrained: bool,
    /// Whether a linear probe of it is taken instead of fine-tuning.
    pub probed: bool,
    /// Its settings, over those of the study.
    pub sets: &'static [&'static str],
    /// The paper's figures, in percent, in the order of [`Table::paper_headings`]; none where it has none.
    pub paper: &'static [f64],
}

/// A pretrained row.
const fn row(
    id: &'static str,
    name: &'static str,
    sets: &'static [&'static str],
    paper: &'static [f64],
) -> TableRow {
    TableRow { id, name, pretrained: true, probed: false, sets, paper }
}

/// A row without pretraining.
const fn untrained(id: &'static str, name: &'static str, paper: &'static [f64]) -> TableRow {
    TableRow { id, name, pretrained: false, probed: false, sets: &[], paper }
}

/// A row of which a linear probe is taken.
const fn probed(row: TableRow) -> TableRow {
    TableRow { probed: true, ..row }
}

const LOSSES: [TableRow; 8] = [
    untrained("scratch", "from scratch", &[43.5]),
    row("sc-5", "SC at 5", &["loss.temporal=false", "loss.alpha=[0,0,1]"], &[61.3]),
    row("tc-5", "TC at 5", &["loss.spatial=false", "loss.beta=[0,0,1]"], &[62.7]),
    row("both-5", "SC+TC at 5", &["loss.alpha=[0,0,1]", "loss.beta=[0,0,1]"], &[65.5]),
    row("both-45-1-1", "SC+TC at 4-5, weights 1, 1", &["loss.alpha=[0,1,1]", "loss.beta=[0,1,1]"], &[66.9]),
    row(
        "both-45-05-1",
        "SC+TC at 4-5, weights 0.5, 1",
        &["loss.alpha=[0,0.5,1]", "loss.beta=[0,0.5,1]"],
        &[67.8],
    ),
    row(
        "both-345-1-1-1",
        "SC+TC at 3-4-5, weights 1, 1, 1",
        &["loss.alpha=[1,1,1]", "loss.beta=[1,1,1]"],
        &[66.8],
    ),
    row(
        "both-345-025-05-1",
        "SC+TC at 3-4-5, weights 0.25, 0.5, 1",
        &["loss.alpha=[0.25,0.5,1]", "loss.beta=[0.25,0.5,1]"],
        &[69.0],
    ),
];

const AUGMENTATIONS: [TableRow; 6] = [
    row("all", "all augmentation", &[], &[69.0]),
    row("no-colour", "without colour jittering", &["augment.colour=false"], &[65.4]),
    row("no-replication", "without channel replication", &["augment.replicate=false"], &[61.0]),
    row("no-both", "without both of these", &["augment.colour=false", "augment.replicate=false"], &[49.4]),
    row("no-flip", "without flipping", &["augment.flip=false"], &[68.0]),
    row("no-scale", "without scale jittering", &["augment.scale_jitter=false"], &[64.7]),
];

const BACKBONES: [TableRow; 3] = [
    row("r3d18", "3D-ResNet18", &["model.backbone=r3d18"], &[68.5, 38.1]),
    row("c3d", "C3D", &["model.backbone=c3d"], &[72.3, 39.3]),
    row("r21d10", "R(2+1)D-10", &["model.backbone=r21d10"], &[76.2, 39.8]),
];

const VARIANT: [TableRow; 2] = [
    row("with", "temporal variant augmented", &["augment.temporal_variant=true"], &[72.3, 39.3]),
    row("without", "temporal variant not augmented", &["augment.temporal_variant=false"], &[68.9, 38.0]),
];

const RETRIEVAL_UCF101: [TableRow; 2] =
    [untrained("untrained", "untrained", &[]), row("hdc", "HDC", &[], &[33.9, 49.6, 55.7, 61.6, 69.9])];

const RETRIEVAL_HMDB51: [TableRow; 2] =
    [untrained("untrained", "untrained", &[]), row("hdc", "HDC", &[], &[14.6, 28.8, 36.1, 44.8, 57.9])];

const SC: &[&str] = &["loss.temporal=false"];
const TC: &[&str] = &["loss.spatial=false"];
const STARTS: [TableRow; 8] = [
    probed(untrained("probe-untrained", "linear probe of an untrained network", &[])),
    probed(row("probe-sc", "linear probe of SC", SC, &[])),
    probed(row("probe-tc", "linear probe of TC", TC, &[])),
    probed(row("probe-hdc", "linear probe of HDC", &[], &[])),
    untrained("scratch", "trained from scratch", &[]),
    row("sc", "SC, fine-tuned", SC, &[]),
    row("tc", "TC, fine-tuned", TC, &[]),
    row("hdc", "HDC, fine-tuned", &[], &[]),
];

impl Table {
    /// Its rows, in the paper's order.
    pub(super) fn rows(self) -> &'static [TableRow] {
        match self {
            Self::Losses => &LOSSES,
            Self::Augmentations => &AUGMENTATIONS,
            Self::Backbones => &BACKBONES,
            Self::RetrievalUcf101 => &RETRIEVAL_UCF101,
            Self::RetrievalHmdb51 => &RETRIEVAL_HMDB51,
            Self::Variant => &VARIANT,
            Self::Starts => &STARTS,
        }
    }

    /// Its name in files of rows. Tables 4 and 5 differ in the paper's figures alone.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Losses => "table1",
            Self::Augmentations => "table2",
            Self::Backbones => "table3",
            Self::RetrievalUcf101 | Self::RetrievalHmdb51 => "retrieval",
            Self::Variant => "variant",
            Self::Starts => "starts",
        }
    }

    /// What it is.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Losses => "Table 1: the parts of the loss",
            Self::Augmentations => "Table 2: augmentations",
            Self::Backbones => "Table 3: backbones",
            Self::RetrievalUcf101 => "Table 4: retrieval",
            Self::RetrievalHmdb51 => "Table 5: retrieval",
            Self::Variant => "Section 4.1: spatial augmentation of the temporal variant",
            Self::Starts => "What a network starts from",
        }
    }

    /// Whether its figures are of retrieval; those of the others are of classification after fine-tuning.
    pub(super) fn retrieves(self) -> bool {
        matches!(self, Self::RetrievalUcf101 | Self::RetrievalHmdb51)
    }

    /// What the paper's figures of a row are.
    pub(super) fn paper_headings(self) -> &'static [&'static str] {
        match self {
            Self::Losses | Self::Augmentations => &["the paper, UCF101"],
            Self::Backbones | Self::Variant => &["the paper, UCF101", "the paper, HMDB51"],
            Self::Starts => &[],
            Self::RetrievalUcf101 => &["1", "5", "10", "20", "50"],
            Self::RetrievalHmdb51 => &["1", "5", "10", "20", "50"],
        }
    }

    /// What the paper's figures were measured with.
    pub(super) fn paper_note(self) -> &'static str {
        match self {
            Self::Losses | Self::Augmentations => "3D-ResNet18, split 1 of UCF101",
            Self::Backbones => "means of the three splits",
            Self::Variant => "C3D, means of the three splits",
            Self::Starts => "it has none of these",
            Self::RetrievalUcf101 => "C3D, UCF101",
            Self::RetrievalHmdb51 => "C3D, HMDB51",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::train::{Config, Preset, Sources};

    #[test]
    fn every_row_has_settings_of_its_own_and_a_paper_figure_a_column() {
        for table in Table::value_variants() {
            let config = |row: &TableRow| -> Config {
                let sources = Sources::default().preset(Preset::PaperC3d);
                row.sets.iter().fold(sources, |s, set| s.set(set)).resolve().unwrap()
            };
            let rows = table.rows();
            for (i, row) in rows.iter().enumerate() {
                assert!(row.paper.len() == table.paper_headings().len() || !row.pretrained, "{row:?}");
                let twin = rows[..i].iter().find(|r| r.id == row.id || r.name == row.name);
                assert!(twin.is_none(), "{row:?}");
                let same = rows[..i].iter().filter(|r| r.pretrained && row.pretrained);
                let settings = |row: &TableRow| (config(row), row.probed);
                assert!(same.clone().all(|r| settings(r) != settings(row)), "{row:?}");
                assert!(row.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
            }
        }
        // Without settings a row is the method itself, as the last of Table 1.
        let last = LOSSES[7].sets.iter().fold(Sources::default(), |s, set| s.set(set)).resolve().unwrap();
        assert_eq!(last, Config::default());
    }
}
