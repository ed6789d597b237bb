//! Cells in the order in which stochastic gradient descent visits them.
//!
//! Users are dealt into B parts and items into Q, which cut the table into B × Q blocks. Blocks that share
//! neither a user part nor an item part, such as those on one diagonal, (p, (p + d) mod B), may be taken by
//! threads in any order.
//!
//! ```text
//! block (p, q): for every 8 users of part p, in their dealt order:
//!                   the first cell in q of each of them, the second of each, …
//! ```
//!
//! Neighbouring cells are of different users, so a processor works on several of them at a time, though
//! they are visited strictly one after the other; the 8 users stay in the nearest cache, and the items of a
//! part in the next. A part is counted, and then written, by one thread.

use std::ops::Range;

use crate::cells::Cells;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};

/// Users whose cells are interleaved.
const GROUP: usize = 8;

/// The rows of a side in a dealt order, cut into parts.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Every row once.
    pub order: &'a [u32],
    /// Part p is `order[cuts[p] .. cuts[p + 1]]`.
    pub cuts: &'a [i64],
}

impl Parts<'_> {
    /// The part of every row; checks that all rows are dealt.
    #[allow(clippy::cast_possible_truncation)] // `Grid::new` has checked the number of parts
    fn numbers(&self) -> Result<Vec<u16>> {
        crate::cells::check_offsets(self.cuts, self.order.len())?;
        let mut part = vec![u16::MAX; self.order.len()];
        for p in 0..self.cuts.len() - 1 {
            for &row in &self.order[self.range(p)] {
                match part.get_mut(row as usize) {
                    Some(number) if *number == u16::MAX => *number = p as u16,
                    _ => return Err(Error::contract("order must hold every row once")),
                }
            }
        }
        Ok(part)
    }

    fn range(&self, p: usize) -> Range<usize> {
        crate::cells::row_of(self.cuts, p)
    }
}

/// Cells by block; what its fields promise lets threads work on a diagonal without locks.
pub struct Grid {
    parts: (usize, usize),
    rows: (usize, usize),
    /// Block (p, q) is the cells `starts[p Q + q] .. starts[p Q + q + 1]`.
    starts: Vec<usize>,
    /// User, item, and the bits of the value. All users of a block are of one part, all items too.
    cells: Vec<[u32; 3]>,
    weights: Option<Vec<f32>>,
    /// The items in their dealt order, and where parts begin: whose rows a thread may touch.
    items: (Vec<u32>, Vec<i64>),
}

impl Grid {
    /// The grid of these cells (rows are users).
    ///
    /// # Errors
    /// `Error::Contract`, `Error::Cancelled`.
    pub fn new(run: Run<'_>, cells: &Cells<'_>, users: Parts<'_>, items: Parts<'_>) -> Result<Self> {
        cells.check()?;
        let [user_parts, parts] = [users, items].map(|side| side.cuts.len().saturating_sub(1));
        if [user_parts, parts].iter().any(|&parts| parts == 0 || parts >= u16::MAX as usize) {
            return Err(Error::contract("each side must be cut into 1 to 65534 parts"));
        }
        if users.order.len() != cells.rows() {
            return Err(Error::contract("users must be the rows of the cells"));
        }
        users.numbers()?;
        let part = items.numbers()?;
        let all: Vec<usize> = (0..user_parts).collect();

        let mut starts = vec![0; user_parts * parts + 1];
        let counts = Shared::new(&mut starts[1..]);
        run.for_each(&all, Vec::new, |of, &p| {
            // SAFETY: every part has places of its own.
            let count = unsafe { counts.range(p * parts..(p + 1) * parts) };
            for &u in &users.order[users.range(p)] {
                run.check()?;
                find(cells, u, &part, of)?;
                for &q in &*of {
                    count[q as usize] += 1;
                }
            }
            Ok(())
        })?;
        for block in 0..user_parts * parts {
            starts[block + 1] += starts[block];
        }

        let mut placed = vec![[0; 3]; cells.indices.len()];
        let mut weights = cells.weights.map(|_| vec![0.0; placed.len()]);
        {
            let placed = Shared::new(&mut placed);
            let weights = weights.as_mut().map(|w| Shared::new(w));
            run.for_each(&all, Vec::new, |of, &p| {
                let own = starts[p * parts]..starts[(p + 1) * parts];
                let mut next: Vec<usize> =
                    (0..parts).map(|q| starts[p * parts + q] - own.start).collect();
                // SAFETY: the blocks of a part are a range of their own.
                let (to, to_weights) = unsafe {
                    (placed.range(own.clone()), weights.as_ref().map(|w| w.range(own.clone())))
                };
                let mut to_weights = to_weights;
                let mut group = Group::new(parts);
                for users in users.order[users.range(p)].chunks(GROUP) {
                    run.check()?;
                    group.fill(cells, users, &part, of)?;
                    group.deal(users, |q, user, cell| {
                        let place = next[q];
                        next[q] += 1;
                        to[place] = [user, cells.indices[cell], cells.values[cell].to_bits()];
                        if let (Some(to), Some(from)) = (&mut to_weights, cells.weights) {
                            to[place] = from[cell];
                        }
                    });
                }
                Ok(())
            })?;
        }
        let rows = (users.order.len(), items.order.len());
        let items = (items.order.to_vec(), items.cuts.to_vec());
        Ok(Grid { parts: (user_parts, parts), rows, starts, cells: placed, weights, items })
    }

    /// B and Q.
    #[must_use]
    pub fn parts(&self) -> (usize, usize) {
        self.parts
    }

    /// The numbers of users and of items.
    #[must_use]
    pub fn rows(&self) -> (usize, usize) {
        self.rows
    }

    /// Where blocks begin: B Q + 1 offsets.
    #[must_use]
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// All cells: user, item, and the bits of the value.
    #[must_use]
    pub fn cells(&self) -> &[[u32; 3]] {
        &self.cells
    }

    /// The weights of all cells; none means 1.
    #[must_use]
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// The items of part q, and where they begin in the dealt order.
    pub(crate) fn items(&self, q: usize) -> (&[u32], usize) {
        let range = crate::cells::row_of(&self.items.1, q);
        (&self.items.0[range.clone()], range.start)
    }

    /// The cells of block (p, q) and their weights.
    pub(crate) fn block(&self, p: usize, q: usize) -> (&[[u32; 3]], Option<&[f32]>) {
        let block = p * self.parts.1 + q;
        let range = self.starts[block]..self.starts[block + 1];
        (&self.cells[range.clone()], self.weights.as_ref().map(|w| &w[range]))
    }
}

/// The item parts of a user's cells.
fn find(cells: &Cells<'_>, user: u32, part: &[u16], of: &mut Vec<u16>) -> Result<()> {
    of.clear();
    for &item in &cells.indices[cells.row(user as usize)] {
        let number = part.get(item as usize);
        of.push(*number.ok_or_else(|| Error::contract(format!("column {item} is outside")))?);
    }
    Ok(())
}

/// The cells of a few users, by user and item part.
struct Group {
    parts: usize,
    /// User j's cells in part q are `sorted[starts[j (Q + 1) + q] .. starts[j (Q + 1) + q + 1]]`.
    starts: Vec<usize>,
    sorted: Vec<usize>,
}

impl Group {
    fn new(parts: usize) -> Self {
        Group { parts, starts: vec![0; GROUP * (parts + 1)], sorted: Vec::new() }
    }

    fn fill(&mut self, cells: &Cells<'_>, users: &[u32], part: &[u16], of: &mut Vec<u16>) -> Result<()> {
        let total = users.iter().map(|&u| cells.row(u as usize).len()).sum();
        self.sorted.resize(total, 0);
        let mut before = 0;
        for (&u, starts) in users.iter().zip(self.starts.chunks_mut(self.parts + 1)) {
            find(cells, u, part, of)?;
            starts.fill(0);
            for &q in &*of {
                starts[q as usize] += 1;
            }
            for start in starts.iter_mut() {
                before += *start; // the end of part q, from which its cells are put down backwards
                *start = before;
            }
            for (cell, &q) in cells.row(u as usize).zip(&*of).rev() {
                starts[q as usize] -= 1;
                self.sorted[starts[q as usize]] = cell;
            }
        }
        Ok(())
    }

    /// Call `put(q, user, cell)` in the order of the visits.
    fn deal(&self, users: &[u32], mut put: impl FnMut(usize, u32, usize)) {
        for q in 0..self.parts {
            let mut own: [&[usize]; GROUP] = [&[]; GROUP];
            for j in 0..users.len() {
                let at = j * (self.parts + 1) + q;
                own[j] = &self.sorted[self.starts[at]..self.starts[at + 1]];
            }
            let longest = own.iter().map(|cells| cells.len()).max().unwrap_or(0);
            for t in 0..longest {
                for (&user, cells) in users.iter().zip(own) {
                    if let Some(&cell) = cells.get(t) {
                        put(q, user, cell);
                    }
                }
            }
        }
    }
}
