//! The saved form of a tree model: named flat arrays, which any container can hold.
//!
//! A file may be damaged or hostile, so reading checks everything that predicting relies on.

use super::TreeError;
use super::model::{LEAF, Node, Trees};

/// One flat array.
#[derive(Clone, Debug, PartialEq)]
pub enum PartData {
    /// Numbers.
    F32(Vec<f32>),
    /// Indices and settings.
    U32(Vec<u32>),
    /// Bins.
    U8(Vec<u8>),
}

/// A model as named arrays.
pub type Parts = Vec<(String, PartData)>;

/// An error about one part.
pub(super) fn invalid(part: &str, problem: impl Into<String>) -> TreeError {
    TreeError::Part { part: part.to_owned(), problem: problem.into() }
}

fn find<'a>(parts: &'a Parts, name: &str) -> Result<&'a PartData, TreeError> {
    let mut found = parts.iter().filter(|(part, _)| part == name);
    match (found.next(), found.next()) {
        (Some((_, data)), None) => Ok(data),
        (None, _) => Err(invalid(name, "it is absent")),
        _ => Err(invalid(name, "it occurs twice")),
    }
}

/// The numbers of a part, all finite.
pub(super) fn numbers<'a>(parts: &'a Parts, name: &str) -> Result<&'a [f32], TreeError> {
    match find(parts, name)? {
        PartData::F32(data) if data.iter().all(|x| x.is_finite()) => Ok(data),
        PartData::F32(_) => Err(invalid(name, "it holds a number that is not finite")),
        _ => Err(invalid(name, "expected f32 numbers")),
    }
}

/// The integers of a part.
pub(super) fn integers<'a>(parts: &'a Parts, name: &str) -> Result<&'a [u32], TreeError> {
    match find(parts, name)? {
        PartData::U32(data) => Ok(data),
        _ => Err(invalid(name, "expected u32 numbers")),
    }
}

fn bytes<'a>(parts: &'a Parts, name: &str) -> Result<&'a [u8], TreeError> {
    match find(parts, name)? {
        PartData::U8(data) => Ok(data),
        _ => Err(invalid(name, "expected bytes")),
    }
}

impl Trees {
    /// Adds the arrays of `self` to `parts`.
    pub(super) fn write(&self, parts: &mut Parts) {
        let nodes = self.nodes.iter().flat_map(|node| [node.column, node.split, node.left, node.right]).collect();
        let levels = self.columns.iter().map(|map| map.as_ref().map_or(u32::MAX, |map| map.len() as u32)).collect();
        let level_bins = self.columns.iter().flatten().flatten().copied().collect();
        parts.push(("roots".into(), PartData::U32(self.roots.clone())));
        parts.push(("nodes".into(), PartData::U32(nodes)));
        parts.push(("sets".into(), PartData::U32(self.sets.concat())));
        parts.push(("leaves".into(), PartData::F32(self.leaves.clone())));
        parts.push(("levels".into(), PartData::U32(levels)));
        parts.push(("level_bins".into(), PartData::U8(level_bins)));
        parts.push(("importance".into(), PartData::F32(self.importance.clone())));
    }

    /// Bytes of what [`Trees::write`] writes.
    pub(super) fn bytes(&self) -> usize {
        let words = self.roots.len() + 4 * self.nodes.len() + self.sets.iter().map(|set| set.len()).sum::<usize>();
        let words = words + self.leaves.len() + self.columns.len() + self.importance.len();
        4 * words + self.columns.iter().flatten().map(|bins| bins.len()).sum::<usize>()
    }

    /// Reads and checks what [`Trees::write`] wrote, with `width` numbers a leaf.
    pub(super) fn read(parts: &Parts, width: usize) -> Result<Self, TreeError> {
        let levels = integers(parts, "levels")?;
        let mut rest = bytes(parts, "level_bins")?;
        let mut columns = Vec::new();
        for &levels in levels {
            if levels == u32::MAX {
                columns.push(None);
                continue;
            }
            let (map, tail) = rest.split_at_checked(levels as usize).ok_or_else(|| invalid("level_bins", "it is too short"))?;
            rest = tail;
            columns.push(Some(map.to_vec()));
        }
        if !rest.is_empty() {
            return Err(invalid("level_bins", "it is too long"));
        }
        let importance = numbers(parts, "importance")?.to_vec();
        if importance.len() != columns.len() {
            return Err(invalid("importance", format!("expected one number for each of {} columns", columns.len())));
        }
        let (sets, tail) = integers(parts, "sets")?.as_chunks::<8>();
        if !tail.is_empty() {
            return Err(invalid("sets", "expected a multiple of 8 words"));
        }
        let leaves = numbers(parts, "leaves")?.to_vec();
        if width == 0 || !leaves.len().is_multiple_of(width) || leaves.len() / width >= LEAF as usize {
            return Err(invalid("leaves", format!("expected a multiple of {width} numbers")));
        }
        let (nodes, tail) = integers(parts, "nodes")?.as_chunks::<4>();
        if !tail.is_empty() || nodes.len() >= LEAF as usize {
            return Err(invalid("nodes", "expected a multiple of 4 numbers"));
        }
        let nodes: Vec<Node> = nodes.iter().map(|&[column, split, left, right]| Node { column, split, left, right }).collect();
        let exists = |link: u32| match link & LEAF {
            0 => (link as usize) < nodes.len(),
            _ => ((link & !LEAF) as usize) < leaves.len() / width,
        };
        for (at, node) in nodes.iter().enumerate() {
            let Some(map) = columns.get(node.position()) else {
                return Err(invalid("nodes", format!("node {at} reads column {} of {}", node.position(), columns.len())));
            };
            let (set, threshold) = (node.split as usize, f32::from_bits(node.split));
            if node.is_set() != map.is_some() {
                return Err(invalid("nodes", format!("node {at} splits a column of another kind")));
            }
            if node.is_set() && set >= sets.len() || !node.is_set() && !threshold.is_finite() {
                return Err(invalid("nodes", format!("node {at} has no valid split")));
            }
            for link in [node.left, node.right] {
                // A child behind its parent is what makes every walk end.
                if !exists(link) || (link & LEAF == 0 && link as usize <= at) {
                    return Err(invalid("nodes", format!("node {at} has no valid child {link}")));
                }
            }
        }
        let roots = integers(parts, "roots")?.to_vec();
        if let Some(root) = roots.iter().find(|&&root| !exists(root)) {
            return Err(invalid("roots", format!("there is no node {root}")));
        }
        Ok(Self { columns, roots, nodes, sets: sets.to_vec(), leaves, width, importance })
    }
}
