//! Which videos are looked for among which.

use std::collections::BTreeSet;
use std::path::Path;

use crate::data::Dataset;
use crate::data::lists::{self, Labelled, Part, Split};
use crate::{Error, Result};

/// Queries and the gallery that they are looked for in, each in order of the keys. A query never finds itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrievalSplit {
    /// The name of the label that makes a hit.
    pub label: String,
    /// What is searched.
    pub gallery: Vec<Labelled>,
    /// What is searched for; `None`: each video of the gallery among the others.
    pub queries: Option<Vec<Labelled>>,
}

impl RetrievalSplit {
    /// Every video of the data set among all others.
    ///
    /// # Errors
    /// Videos without such a label, with the labels that there are; fewer than two videos.
    pub fn whole(dataset: &Dataset, label: &str) -> Result<Self> {
        let gallery = lists::whole(dataset, label)?;
        if gallery.len() < 2 {
            let hint = "retrieval needs two videos or more";
            return Err(Error::data(dataset.root(), "holds one video", hint));
        }
        Ok(Self { label: label.into(), gallery, queries: None })
    }

    /// The videos of the list `test` among those of the list `train`.
    ///
    /// # Errors
    /// An unreadable list; videos that the data set lacks or that have no such label.
    pub fn lists(dataset: &Dataset, train: &Path, test: &Path, label: &str) -> Result<Self> {
        let read = |path, part| -> Result<Vec<Labelled>> {
            let mut videos = Split::read(path, part)?.resolve(dataset, label)?;
            videos.sort_by_key(|v| v.video);
            videos.dedup_by_key(|v| v.video);
            Ok(videos)
        };
        let (gallery, queries) = (read(train, Part::Train)?, read(test, Part::Test)?);
        Ok(Self { label: label.into(), gallery, queries: Some(queries) })
    }

    /// What is searched for.
    pub fn queries(&self) -> &[Labelled] {
        self.queries.as_deref().unwrap_or(&self.gallery)
    }

    /// All videos that need a vector.
    pub fn videos(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.gallery.iter().chain(self.queries()).map(|v| v.video).collect();
        all.into_iter().collect()
    }
}
