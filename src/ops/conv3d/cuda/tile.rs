//! How a product is cut into the tiles of blocks.

/// Rows of a block's tile.
pub const ROWS: usize = 128;
/// Blocks that a large GPU runs at a time, about: two on each of 132 multiprocessors. Tiles and splits are chosen with
/// it whatever the GPU, so that results do not depend on that.
pub const SLOTS: usize = 264;
/// Columns of a tile that kernels were compiled for; 144 are the channels of half of the factors of R(2+1)D.
pub const COLUMNS: [usize; 5] = [32, 64, 96, 128, 144];
/// The same, where copies bring 8 bytes: a few channels on one side, seldom more than 96 on the other.
pub const THIN_COLUMNS: [usize; 3] = [32, 64, 96];
/// What a tile costs besides its columns, in columns: the copies of its rows.
const ROW_COST: usize = 32;

/// The width of tiles for `columns` columns that takes least time, with `row_tiles` tiles one below the other: as often
/// as all slots are filled, that of a tile. Of several the widest.
pub fn width(widths: &[usize], columns: usize, row_tiles: usize) -> usize {
    let time = |&width: &usize| (row_tiles * columns.div_ceil(width)).div_ceil(SLOTS) * (width + ROW_COST);
    widths.iter().copied().rev().min_by_key(time).expect("there are widths")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tiles_waste_little_of_many_rows() {
        let chosen = [8, 64, 88, 128, 144, 232, 256, 288, 512].map(|c| width(&COLUMNS, c, 100_000));
        assert_eq!(chosen, [32, 64, 96, 128, 144, 128, 128, 144, 128]);
    }

    #[test]
    fn few_rows_get_narrow_tiles_that_fill_the_gpu() {
        assert_eq!(width(&COLUMNS, 512, 48), 128); // 192 blocks; of half the width 384, more than there are slots
        assert_eq!(width(&COLUMNS, 512, 24), 64);
        assert_eq!(width(&COLUMNS, 512, 1), 32);
    }
}
