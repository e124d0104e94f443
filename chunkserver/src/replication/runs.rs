//! Blocks that go to a peer, gathered into as few requests as their places allow.

use cairn_proto::chunk::{BLOCK_SIZE, MAX_PIECE_BYTES};

/// Neighbouring blocks of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Block number of the first.
    pub start: u32,
    pub blocks: u32,
    /// Their bytes; `None`: they are holes.
    pub bytes: Option<Vec<u8>>,
}

/// The run that is being gathered.
#[derive(Debug, Default)]
pub struct Gatherer {
    run: Option<Run>,
}

impl Gatherer {
    /// Adds a block, ascending. Returns the run before it where it does not continue that one.
    pub fn push(&mut self, block: u32, bytes: &[u8; BLOCK_SIZE]) -> Option<Run> {
        let is_hole = bytes.iter().all(|b| *b == 0);
        let finished = match &mut self.run {
            Some(run) if run.start + run.blocks == block && run.has_room(is_hole) => {
                run.blocks += 1;
                if let Some(gathered) = &mut run.bytes {
                    gathered.extend_from_slice(bytes);
                }
                return None;
            }
            run => run.take(),
        };
        let bytes = (!is_hole).then(|| bytes.to_vec());
        self.run = Some(Run { start: block, blocks: 1, bytes });
        finished
    }

    /// What is left.
    pub fn finish(&mut self) -> Option<Run> {
        self.run.take()
    }
}

impl Run {
    /// Bytes from the chunk's start.
    pub fn offset(&self) -> u32 {
        self.start * BLOCK_SIZE as u32
    }

    fn has_room(&self, for_hole: bool) -> bool {
        match &self.bytes {
            None => for_hole,
            Some(bytes) => !for_hole && bytes.len() + BLOCK_SIZE <= MAX_PIECE_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_kind_go_together() {
        let mut gatherer = Gatherer::default();
        let (data, hole) = ([7; BLOCK_SIZE], [0; BLOCK_SIZE]);
        assert_eq!(gatherer.push(3, &data), None);
        assert_eq!(gatherer.push(4, &data), None);
        let first = gatherer.push(5, &hole).unwrap();
        assert_eq!((first.start, first.blocks, first.offset()), (3, 2, 12288));
        assert_eq!(first.bytes.unwrap().len(), 2 * BLOCK_SIZE);
        let second = gatherer.push(9, &hole).unwrap();
        assert_eq!(second, Run { start: 5, blocks: 1, bytes: None });
        assert_eq!(gatherer.finish(), Some(Run { start: 9, blocks: 1, bytes: None }));
        assert_eq!(gatherer.finish(), None);
    }

    #[test]
    fn a_run_fits_into_a_piece() {
        let mut gatherer = Gatherer::default();
        let runs: Vec<Run> = (0..300).filter_map(|block| gatherer.push(block, &[1; BLOCK_SIZE])).collect();
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].bytes.as_ref().unwrap().len(), MAX_PIECE_BYTES);
        assert_eq!(gatherer.finish().unwrap().blocks, 44);
    }
}
