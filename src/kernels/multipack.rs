//! First-fit into bins: Axolotl's multipack, with the same bins.
//!
//! First-fit asks, for every sequence, for the first bin with enough room. A tree answers it whose
//! nodes hold the most room that any of 16 children has: 16 lanes are compared at once.

/// Which bin each sequence goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bins {
    /// The bin of every sequence; `SKIPPED` for those that got none.
    pub bin_of: Vec<u32>,
    /// How many sequences each bin holds.
    pub counts: Vec<u32>,
}

/// A sequence that fits no bin where no more may be opened.
pub const SKIPPED: u32 = u32::MAX;

/// What limits the bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Room of a bin. A longer sequence gets a bin for itself.
    pub capacity: i64,
    /// Sequences a bin may hold; it always takes the one it was opened for.
    pub per_bin: i64,
    /// Bins that may be opened; a sequence that would need one more is skipped.
    pub bins: usize,
}

/// Packs by first-fit, in the order given.
pub fn first_fit(sizes: &[i64], limits: Limits) -> Bins {
    match small(sizes, limits.capacity) {
        Some(sizes) => first_fit_small(&sizes, limits),
        None => first_fit_by_looking(sizes, limits),
    }
}

/// Room fits in a lane, with one value more for "full".
const LARGEST: i64 = i32::MAX as i64 - 1;

/// The sizes as the tree holds them; None where some do not fit.
fn small(sizes: &[i64], capacity: i64) -> Option<Vec<i32>> {
    let are_small = sizes.iter().fold(true, |fits, size| fits & (0..=LARGEST).contains(size));
    let fits = are_small && (0..=LARGEST).contains(&capacity);
    fits.then(|| sizes.iter().map(|&size| size as i32).collect())
}

/// `first_fit` for sizes and a capacity from 0 to 2^31 - 2.
pub fn first_fit_small(sizes: &[i32], limits: Limits) -> Bins {
    let (mut smallest, mut longest, mut total) = (i32::MAX, 0, 0i64);
    for &size in sizes {
        smallest = smallest.min(size);
        longest = longest.max(size);
        total += i64::from(size);
    }
    let mut packing = Packing::new(sizes.len(), limits);
    // The bin found for a size is a start for the next search of the same size: bins only get fuller.
    // All those searches together pass every bin once for each size at most.
    let count = sizes.len() as i64;
    let distinct = i64::from(longest) - i64::from(smallest) + 1;
    let bins = 2 * total / limits.capacity.max(1) + count / i64::from(packing.per_bin);
    if distinct.saturating_mul(bins) <= 8 * count {
        let mut starts = vec![0u32; distinct.max(0) as usize];
        for &size in sizes {
            let start = &mut starts[(size - smallest) as usize];
            *start = packing.place_from(*start as usize, size) as u32;
        }
        return packing.bins;
    }
    // Few bins are looked at one by one, the full ones at the beginning left out.
    let mut open = 0;
    let mut sizes = sizes.iter();
    for &size in sizes.by_ref() {
        let bin = packing.place_from(open, size);
        if bin == open {
            open += packing.rooms[open..].iter().take_while(|&&room| room <= smallest).count();
        }
        if packing.rooms.len() - open > FEW {
            break;
        }
    }
    if sizes.len() == 0 {
        return packing.bins;
    }
    let mut tree = Tree::new(sizes.len() + packing.rooms.len());
    for &room in &packing.rooms {
        tree.push(room);
    }
    for &size in sizes {
        match tree.find(size) {
            Some(bin) => tree.set(bin, packing.add(bin, tree.room(bin), size)),
            None => {
                if let Some(room) = packing.open(size) {
                    tree.push(room);
                }
            }
        }
    }
    packing.bins
}

/// Up to so many bins, looking at one after the other takes no longer than the tree.
const FEW: usize = 24;

/// Sequences that are packed without any memory asked for.
pub const SHORT: usize = 32;

/// Bins of at most `SHORT` sequences.
pub struct ShortBins {
    bins: usize,
    counts: [u8; SHORT],
    members: [u8; SHORT],
}

impl ShortBins {
    /// The sequences of each bin, each in the order given.
    pub fn bins(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut rest = &self.members[..];
        self.counts[..self.bins].iter().map(move |&count| {
            let (bin, others) = rest.split_at(usize::from(count));
            rest = others;
            bin
        })
    }
}

/// `first_fit` for few sequences of any size; None where there are too many.
pub fn first_fit_short<T: Copy + Into<i64>>(sizes: &[T], limits: Limits) -> Option<ShortBins> {
    if sizes.len() > SHORT {
        return None;
    }
    let (mut counts, mut rooms) = ([0u8; SHORT], [0i64; SHORT]);
    let mut bin_of = [SHORT; SHORT];
    let mut bins = 0;
    for (&size, bin_of) in sizes.iter().zip(&mut bin_of) {
        let size: i64 = size.into();
        let takes = |&bin: &usize| rooms[bin] >= size && i64::from(counts[bin]) < limits.per_bin;
        let bin = (0..bins).find(takes).unwrap_or(bins);
        if bin == bins {
            if bins >= limits.bins {
                continue;
            }
            rooms[bin] = limits.capacity;
            bins += 1;
        }
        rooms[bin] = rooms[bin].wrapping_sub(size);
        counts[bin] += 1;
        *bin_of = bin;
    }
    let mut places = [0u8; SHORT];
    for bin in 1..bins {
        places[bin] = places[bin - 1] + counts[bin - 1];
    }
    let mut members = [0; SHORT];
    for (sequence, &bin) in bin_of.iter().enumerate().take(sizes.len()) {
        if let Some(place) = places.get_mut(bin) {
            members[usize::from(*place)] = sequence as u8;
            *place += 1;
        }
    }
    Some(ShortBins { bins, counts, members })
}

/// Bins on their way.
struct Packing {
    bins: Bins,
    /// Room of every bin plus one, 0 where full. Not kept up once a tree has it.
    rooms: Vec<i32>,
    capacity: i32,
    per_bin: u32,
    max_bins: usize,
}

impl Packing {
    fn new(sequences: usize, limits: Limits) -> Self {
        Packing {
            bins: Bins { bin_of: Vec::with_capacity(sequences), counts: Vec::new() },
            rooms: Vec::new(),
            capacity: limits.capacity as i32,
            per_bin: u32::try_from(limits.per_bin.max(1)).unwrap_or(u32::MAX),
            max_bins: limits.bins,
        }
    }

    /// Puts a sequence into the first bin from `start` on that has room, or a new one. Returns the bin,
    /// or how many there are if it was skipped.
    #[inline(always)]
    fn place_from(&mut self, start: usize, size: i32) -> usize {
        let mut bin = start;
        while let Some(&room) = self.rooms.get(bin) {
            if room > size {
                let room = self.add(bin, room, size);
                self.rooms[bin] = room;
                return bin;
            }
            bin += 1;
        }
        if let Some(room) = self.open(size) {
            self.rooms.push(room);
        }
        bin
    }

    /// Counts a sequence in a bin of this room; returns what is left.
    #[inline(always)]
    fn add(&mut self, bin: usize, room: i32, size: i32) -> i32 {
        let count = &mut self.bins.counts[bin];
        *count += 1;
        let is_full = *count >= self.per_bin;
        self.bins.bin_of.push(bin as u32);
        if is_full { 0 } else { room - size }
    }

    /// Opens a bin for a sequence, if one more may be; returns its room.
    #[inline(always)]
    fn open(&mut self, size: i32) -> Option<i32> {
        if self.bins.counts.len() >= self.max_bins {
            self.bins.bin_of.push(SKIPPED);
            return None;
        }
        self.bins.bin_of.push(self.bins.counts.len() as u32);
        self.bins.counts.push(1);
        let is_full = size > self.capacity || self.per_bin == 1;
        Some(if is_full { 0 } else { self.capacity - size + 1 })
    }
}

/// First-fit as it is defined, for sizes and capacities of any kind; sums wrap.
fn first_fit_by_looking(sizes: &[i64], limits: Limits) -> Bins {
    let mut bin_of = Vec::with_capacity(sizes.len());
    let mut counts: Vec<u32> = Vec::new();
    let mut rooms: Vec<i64> = Vec::new();
    for &size in sizes {
        let takes =
            |(&room, &count): (&i64, &u32)| room >= size && i64::from(count) < limits.per_bin;
        if let Some(bin) = rooms.iter().zip(&counts).position(takes) {
            rooms[bin] = rooms[bin].wrapping_sub(size);
            counts[bin] += 1;
            bin_of.push(bin as u32);
        } else if rooms.len() >= limits.bins {
            bin_of.push(SKIPPED);
        } else {
            bin_of.push(counts.len() as u32);
            rooms.push(limits.capacity.wrapping_sub(size));
            counts.push(1);
        }
    }
    Bins { bin_of, counts }
}

impl Bins {
    /// The sequences of every bin, one bin after the other, each in the order given.
    ///
    /// Bin `i` holds as many as `counts[i]` says.
    pub fn members(&self) -> Vec<u32> {
        let mut place = 0;
        let mut places: Vec<u32> = self
            .counts
            .iter()
            .map(|&count| {
                place += count;
                place - count
            })
            .collect();
        let mut members = vec![0; place as usize];
        for (sequence, &bin) in self.bin_of.iter().enumerate() {
            if bin != SKIPPED {
                let place = &mut places[bin as usize];
                members[*place as usize] = sequence as u32;
                *place += 1;
            }
        }
        members
    }
}

/// Whether first-fit in descending order needs no more than `bins` bins.
pub fn fits(sizes: &[i64], capacity: i64, bins: usize, wrap: fn(i64) -> i64) -> bool {
    match small(sizes, capacity) {
        Some(mut sizes) => fits_small(&mut sizes, capacity, bins),
        None => fits_by_looking(sizes, capacity, bins, wrap),
    }
}

/// `fits` for sizes and a capacity from 0 to 2^31 - 2. Sorts the sizes.
pub fn fits_small(sizes: &mut [i32], capacity: i64, bins: usize) -> bool {
    let total: i64 = sizes.iter().map(|&size| i64::from(size)).sum();
    if i128::from(total) > i128::from(capacity) * bins as i128 {
        return false;
    }
    if bins == 0 || sizes.is_empty() {
        return sizes.is_empty();
    }
    let smallest = sizes.iter().fold(i32::MAX, |least, &size| least.min(size));
    let longest = sizes.iter().fold(0, |most, &size| most.max(size));
    if i64::from(longest) > capacity {
        return false;
    }
    let capacity = capacity as i32;
    let bins = bins.min(sizes.len());
    let distinct = (longest - smallest) as usize + 1;
    if sizes.len() >= MANY_SIZES && distinct <= 2 * sizes.len() {
        // Counted sooner than sorted.
        let mut counts = vec![0u32; distinct];
        for &size in &*sizes {
            counts[(size - smallest) as usize] += 1;
        }
        let runs = (smallest..longest + 1).zip(&counts).rev().filter(|&(_, &count)| count > 0);
        return runs_fit(runs.map(|(size, &count)| (size, count as usize)), capacity, bins);
    }
    sizes.sort_unstable();
    if bins <= FEW_ROOMS {
        return runs_fit(sizes.iter().rev().map(|&size| (size, 1)), capacity, bins);
    }
    let runs = sizes.chunk_by(|one, other| one == other).rev();
    runs_fit(runs.map(|run| (run[0], run.len())), capacity, bins)
}

/// From so many sizes on, counting them pays.
const MANY_SIZES: usize = 64;
/// Up to so many bins are looked at one by one.
const FEW_ROOMS: usize = 128;

/// Whether sequences fit, the longest first: sizes no longer than `capacity`, and how many have each.
///
/// Equal sizes fill a bin before they go on to the next one that has room.
fn runs_fit(runs: impl Iterator<Item = (i32, usize)>, capacity: i32, bins: usize) -> bool {
    let mut runs = runs.take_while(|&(size, _)| size > 0);
    if bins > FEW_ROOMS {
        let mut tree = Tree::new(bins);
        let mut opened = 0;
        return runs.all(|(size, mut left)| {
            while left > 0 {
                let (bin, room) = match tree.find(size) {
                    Some(bin) => (bin, tree.room(bin)),
                    None if opened == bins => return false,
                    None => {
                        tree.push(capacity + 1);
                        opened += 1;
                        (opened - 1, capacity + 1)
                    }
                };
                let taken = left.min(((room - 1) / size) as usize);
                left -= taken;
                tree.set(bin, room - taken as i32 * size);
            }
            true
        });
    }
    let mut rooms = [0; FEW_ROOMS];
    let rooms = &mut rooms[..bins];
    rooms.fill(capacity);
    let mut first = FirstRoom::default();
    runs.all(|(size, mut left)| {
        while left > 0 {
            let Some(bin) = first.find(rooms, size) else {
                return false;
            };
            let taken = if left == 1 { 1 } else { left.min((rooms[bin] / size) as usize) };
            rooms[bin] -= taken as i32 * size;
            left -= taken;
        }
        true
    })
}

/// Finds the first bin with room, for sizes that come in descending order.
///
/// The bins before `next` have no more room than `most`: as long as sizes are larger, none of them is
/// looked at again.
#[derive(Default)]
struct FirstRoom {
    next: usize,
    most: i32,
}

impl FirstRoom {
    #[inline(always)]
    fn find(&mut self, rooms: &[i32], size: i32) -> Option<usize> {
        if size <= self.most {
            *self = FirstRoom::default();
        }
        for (bin, &room) in rooms.iter().enumerate().skip(self.next) {
            if room >= size {
                self.next = bin;
                return Some(bin);
            }
            self.most = self.most.max(room);
        }
        None
    }
}

fn fits_by_looking(sizes: &[i64], capacity: i64, bins: usize, wrap: fn(i64) -> i64) -> bool {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    // More bins than sequences are never looked at.
    let mut rooms = vec![capacity; bins.min(sizes.len())];
    sizes.iter().all(|&size| match rooms.iter_mut().find(|room| **room >= size) {
        Some(room) => {
            *room = wrap(room.wrapping_sub(size));
            true
        }
        None => false,
    })
}

/// Bins filled one after the other, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequential {
    /// Where each bin ends (exclusive) in the order given.
    pub ends: Vec<usize>,
    /// The sum of all sizes.
    pub used: i64,
}

/// Packs by next-fit: a sequence that does not fit in the current bin opens the next one.
pub fn next_fit<T: Copy + Into<i64>>(sizes: &[T], capacity: i64) -> Sequential {
    let (mut ends, mut used, mut room) = (Vec::new(), 0i64, capacity);
    for (i, &size) in sizes.iter().enumerate() {
        let size: i64 = size.into();
        if size <= room {
            room = room.wrapping_sub(size);
        } else {
            if i > 0 {
                ends.push(i);
            }
            room = capacity.wrapping_sub(size);
        }
        used = used.wrapping_add(size);
    }
    if !sizes.is_empty() {
        ends.push(sizes.len());
    }
    Sequential { ends, used }
}

const WIDTH: usize = 16;
type Node = [i32; WIDTH];

/// Room of bins plus one, 0 where full, and above it the maxima of every 16, of every 256 and so on.
struct Tree {
    /// All levels, the bins first, each with the nodes that `capacity` bins need.
    nodes: Vec<Node>,
    /// Where each level begins.
    starts: [usize; 9],
    /// Levels in use: the top one has one node in use.
    depth: usize,
    length: usize,
}

impl Tree {
    fn new(capacity: usize) -> Self {
        let mut starts = [0; 9];
        let mut nodes = 0;
        let mut level = capacity;
        for start in &mut starts {
            *start = nodes;
            level = level.div_ceil(WIDTH);
            nodes += level;
        }
        Tree { nodes: vec![[0; WIDTH]; nodes], starts, depth: 1, length: 0 }
    }

    /// The first bin with room for `size`.
    #[inline(always)]
    fn find(&self, size: i32) -> Option<usize> {
        let mut at = 0;
        for &start in self.starts[..self.depth].iter().rev() {
            at = at * WIDTH + first_above(self.nodes.get(start + at)?, size)?;
        }
        Some(at)
    }

    #[inline(always)]
    fn room(&self, bin: usize) -> i32 {
        self.nodes[bin / WIDTH][bin % WIDTH]
    }

    #[inline(always)]
    fn set(&mut self, bin: usize, room: i32) {
        let (mut at, mut value) = (bin, room);
        let mut before = 0;
        for (level, &start) in self.starts[..self.depth].iter().enumerate() {
            let node = &mut self.nodes[start + at / WIDTH];
            let lane = &mut node[at % WIDTH];
            if level > 0 {
                // The maximum was another one, and is.
                if *lane > before && *lane >= value {
                    return;
                }
                let below = &self.nodes[self.starts[level - 1] + at];
                value = maximum(below);
                let lane = &mut self.nodes[start + at / WIDTH][at % WIDTH];
                if *lane == value {
                    return;
                }
                before = std::mem::replace(lane, value);
            } else {
                before = std::mem::replace(lane, value);
            }
            at /= WIDTH;
        }
    }

    fn push(&mut self, room: i32) {
        let bin = self.length;
        self.length += 1;
        if bin == WIDTH.pow(self.depth as u32) {
            // The top node is full: it becomes the first child of a new one.
            let top = maximum(&self.nodes[self.starts[self.depth - 1]]);
            self.nodes[self.starts[self.depth]][0] = top;
            self.depth += 1;
        }
        self.set(bin, room);
    }
}

/// The first lane above `size`, without a branch for any of them.
#[inline(always)]
fn first_above(node: &Node, size: i32) -> Option<usize> {
    let mut above = 0u32;
    for (i, &lane) in node.iter().enumerate() {
        above |= u32::from(lane > size) << i;
    }
    (above != 0).then(|| above.trailing_zeros() as usize)
}

#[inline(always)]
fn maximum(node: &Node) -> i32 {
    node.iter().copied().fold(0, i32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(capacity: i64, per_bin: i64, bins: usize) -> Limits {
        Limits { capacity, per_bin, bins }
    }

    #[test]
    fn nothing_needs_no_bins() {
        assert_eq!(first_fit(&[], limits(8, 4, 9)), Bins::default());
        assert_eq!(next_fit::<i64>(&[], 8), Sequential::default());
        assert!(fits(&[], 8, 0, |x| x));
        assert!(!fits(&[0], 8, 0, |x| x));
    }

    #[test]
    fn a_sequence_longer_than_a_bin_gets_one_for_itself() {
        let bins = first_fit(&[9, 0, 8, 9, 1], limits(8, 4, 9));
        assert_eq!(bins.bin_of, [0, 1, 1, 2, 3]);
        assert_eq!(bins.counts, [1, 2, 1, 1]);
        assert_eq!(bins.members(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_would_need_one_bin_more_is_skipped() {
        let bins = first_fit(&[5, 5, 5, 3], limits(8, 4, 2));
        assert_eq!(bins.bin_of, [0, 1, SKIPPED, 0]);
        assert_eq!(bins.members(), [0, 3, 1]);
    }

    #[test]
    fn sizes_beyond_a_lane_still_pack() {
        let large = i64::from(i32::MAX);
        let bins = first_fit(&[large, 1, large], limits(large + 1, 9, 9));
        assert_eq!(bins.bin_of, [0, 0, 1]);
        assert_eq!(first_fit(&[-3, 8, 11, 3], limits(8, 9, 9)).bin_of, [0, 0, 1, 0]);
    }

    #[test]
    fn next_fit_keeps_the_order() {
        let packed = next_fit(&[5i64, 3, 1, 9, 0, 8], 8);
        assert_eq!(packed.ends, [2, 3, 4, 6]);
        assert_eq!(packed.used, 26);
    }

    /// Sequences at most: Miri takes seconds for a hundred.
    const MOST: usize = if cfg!(miri) { 60 } else { 900 };

    fn sizes() -> impl Strategy<Value = Vec<i64>> {
        prop_oneof![
            proptest::collection::vec(0i64..40, 0..MOST / 2),
            proptest::collection::vec(0i64..200, 0..MOST / 2),
            proptest::collection::vec(1i64..12, 0..MOST),
            proptest::collection::vec(90i64..101, 0..MOST),
            proptest::collection::vec(-5i64..200, 0..60),
            proptest::collection::vec(any::<i64>(), 0..20),
        ]
    }

    proptest! {
        #[test]
        fn bins_are_those_of_looking(
            sizes in sizes(), capacity in prop_oneof![Just(100i64), 0i64..150, any::<i64>()],
            per_bin in -1i64..20, bins in prop_oneof![Just(usize::MAX), 0usize..40],
        ) {
            let limits = limits(capacity, per_bin, bins);
            let found = first_fit(&sizes, limits);
            prop_assert_eq!(&found, &first_fit_by_looking(&sizes, limits));
            let members = found.members();
            let mut first = 0;
            for (bin, &count) in found.counts.iter().enumerate() {
                let end = first + count as usize;
                let expected = (0..sizes.len()).filter(|&i| found.bin_of[i] == bin as u32);
                prop_assert!(members[first..end].iter().map(|&i| i as usize).eq(expected));
                first = end;
            }
            prop_assert_eq!(first, members.len());
            if let Some(short) = first_fit_short(&sizes, limits) {
                let counts: Vec<_> = short.bins().map(|bin| bin.len() as u32).collect();
                prop_assert_eq!(&counts, &found.counts);
                prop_assert!(short.bins().flatten().map(|&i| u32::from(i)).eq(members));
            }
        }

        #[test]
        fn fitting_is_that_of_looking(
            sizes in sizes(), capacity in prop_oneof![Just(100i64), 0i64..150], slack in 0usize..90,
        ) {
            let total: i64 = sizes.iter().fold(0, |sum, size| sum.wrapping_add(*size));
            let bins = (total / capacity.max(1)).clamp(0, 3000) as usize + slack / 3;
            prop_assert_eq!(
                fits(&sizes, capacity, bins, |x| x),
                fits_by_looking(&sizes, capacity, bins, |x| x)
            );
        }
    }
}
